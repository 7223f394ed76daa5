"""Searches for witnesses; they never show that there is none."""
