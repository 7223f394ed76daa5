"""Ends with status 3 and an error message."""

import sys

print("Traceback (most recent call last):\nValueError: no such layer", file=sys.stderr)
sys.exit(3)
