"""Notes when it started, works for some seconds (second argument) and answers unsat."""

import os
import sys
import time
from pathlib import Path

pids = Path(os.environ["FAKE_PIDS"])
(pids / f"started-{Path(sys.argv[1]).stem}-{time.monotonic_ns()}").touch()
time.sleep(float(sys.argv[2]))
print("unsat")
