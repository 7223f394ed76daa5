"""The commands of `salver` beside the stages in `salver.cli`, and how any of them is called.

Heavy imports stay inside the functions, so that `--help` is quick.
"""
