"""The commands of `salver`. Heavy imports stay inside the functions, so that `--help` is quick."""
