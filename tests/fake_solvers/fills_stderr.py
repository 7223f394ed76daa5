"""Prints the given MiB to standard error, then answers unsat."""

import os
import sys

for _ in range(int(sys.argv[2])):
    os.write(2, b"x" * (1 << 20))
os.write(1, b"unsat\n")
