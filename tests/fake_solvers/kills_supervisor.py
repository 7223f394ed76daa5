"""Kills the process that started it, its supervisor, and goes on with a daemon beside it."""

import os
import signal
import time
from pathlib import Path

if os.fork() == 0:
    os.setsid()
    Path(os.environ["FAKE_PIDS"], str(os.getpid())).touch()
    time.sleep(60)
    os._exit(0)
time.sleep(0.02)
os.kill(os.getppid(), signal.SIGKILL)
time.sleep(60)
