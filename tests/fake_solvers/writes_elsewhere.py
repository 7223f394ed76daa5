"""Answers unsat and leaves files in its home, its caches, its temporary and its working folder."""

import os
import tempfile
from pathlib import Path

home = Path.home()
cache = Path(os.environ["XDG_CACHE_HOME"])
for path in (home / ".tool" / "config", cache / "tool" / "kernel", Path("core.1"), Path("deep", "er", "log")):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("left behind")
for number in range(500):
    (home / f"{number}.tmp").touch()
tempfile.mkdtemp()
tempfile.mkstemp()
print("unsat")
