"""Writes its answer to result.txt, and links and pipes under the other names it was asked for."""

import os
from pathlib import Path

Path("result.txt").write_text("unsat\n")
Path("link.txt").symlink_to("/etc/hostname")
os.mkfifo("pipe.txt")
print("unknown")
