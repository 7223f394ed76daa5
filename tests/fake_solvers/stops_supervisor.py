"""Stops the process that started it, its supervisor, once or as often as it can, and then answers."""

import os
import signal
import sys
import time
from pathlib import Path

Path(os.environ["FAKE_PIDS"], str(os.getpid())).touch()
supervisor = os.getppid()
os.kill(supervisor, signal.SIGSTOP)
print("unsat", flush=True)
if sys.argv[-1] == "again":
    while True:
        os.kill(supervisor, signal.SIGSTOP)
if sys.argv[-1] == "stay":
    time.sleep(60)
