"""Judging: witness replay, ground truth by enumeration, verdicts and scores."""
