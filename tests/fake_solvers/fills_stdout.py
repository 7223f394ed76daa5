"""Answers unsat, then prints the given MiB to standard output."""

import os
import sys

os.write(1, b"unsat\n")
for _ in range(int(sys.argv[2])):
    os.write(1, b"x" * (1 << 20))
