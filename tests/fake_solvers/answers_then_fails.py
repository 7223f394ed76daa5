"""Gives an answer, unsat where none is named, then dies of an exception that nobody catches."""

import sys

print(sys.argv[2] if len(sys.argv) > 2 else "unsat", flush=True)
raise RuntimeError("after the verdict")
