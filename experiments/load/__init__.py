"""Synthetic runs of any size, and what reporting them costs."""
