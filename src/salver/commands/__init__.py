"""Verbs of the command `salver` that are not stages of the pipeline."""
