"""Answers sat with the witness given as the second argument, or read from the file named after an @."""

import sys
from pathlib import Path

witness = sys.argv[2]
print("sat")
print(Path(witness[1:]).read_text() if witness.startswith("@") else witness)
