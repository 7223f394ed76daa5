"""Answers unsat and ends by itself, but only after the given seconds."""

import sys
import time

time.sleep(float(sys.argv[2]))
print("unsat")
