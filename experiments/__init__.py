"""Measurements of salver itself, each by one command that prints a table."""
