"""Notes that it started, waits until a file `go` appears among the pids, and answers unsat."""

import os
import sys
import time
from pathlib import Path

pids = Path(os.environ["FAKE_PIDS"])
(pids / f"started-{Path(sys.argv[1]).stem}-{os.getpid()}").touch()
while not (pids / "go").exists():
    time.sleep(0.01)
print("unsat")
