"""Answers unsat when it is given exactly one argument, which names a file."""

import sys
from pathlib import Path

print("unsat" if len(sys.argv) == 2 and Path(sys.argv[1]).is_file() else f"error\n{sys.argv[1:]}")
