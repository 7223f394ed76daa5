"""The commands of `salver` beside the stages in `salver.cli`, and how any of them is called."""
