"""Answers sat with a witness far outside of the query's box."""

import re
import sys
from pathlib import Path

names = re.findall(r"declare-const\s+(X_\d+)", Path(sys.argv[1]).read_text())
print("sat")
print("(" + "\n".join(f"({name} 1000000.0)" for name in names) + ")")
