"""Answers sat and shows nothing for it."""

print("sat")
