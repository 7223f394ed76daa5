"""Waits for its standard input to end, then answers unsat; a line read from it makes the answer an error."""

import sys

print("error" if sys.stdin.read() else "unsat")
