"""Answers unsat and leaves files in the working and temporary folders and beside its inputs."""

import os
import sys
from pathlib import Path

temporary = Path(os.environ["TMPDIR"])
(temporary / "deep").mkdir()
for path in (temporary / "deep" / "cache", Path("cache"), Path(sys.argv[1] + ".compiled")):
    path.write_text("left behind")
(temporary / "deep").chmod(0)
Path(os.environ["FAKE_PIDS"], "folders").write_text(f"{temporary}\n{Path.cwd()}")
print("unsat")
