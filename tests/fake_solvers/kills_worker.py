"""Kills the process that its supervisor works for, as long as fewer than N (second argument) copies of it
have done so on this instance; then answers unsat."""

import os
import signal
import sys
import time
from pathlib import Path

pids = Path(os.environ["FAKE_PIDS"])
name = Path(sys.argv[1]).stem
earlier = list(pids.glob(f"killed-{name}-*"))
if len(earlier) < int(sys.argv[2]):
    (pids / f"killed-{name}-{len(earlier)}").touch()
    supervisor = Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()
    os.kill(int(supervisor[1]), signal.SIGKILL)
    time.sleep(60)
print("unsat")
