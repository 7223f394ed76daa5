"""Kills the process that its fork server works for, as long as fewer than N (second argument) copies of it
have done so on this instance; then answers unsat."""

import os
import signal
import sys
import time
from pathlib import Path


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


pids = Path(os.environ["FAKE_PIDS"])
name = Path(sys.argv[1]).stem
earlier = list(pids.glob(f"killed-{name}-*"))
if len(earlier) < int(sys.argv[2]):
    (pids / f"killed-{name}-{len(earlier)}").touch()
    os.kill(parent(parent(os.getppid())), signal.SIGKILL)
    time.sleep(60)
print("unsat")
