"""Limits on one command and the end of all it starts."""
