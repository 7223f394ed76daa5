"""Ignores every signal that can be ignored, and never answers."""

import os
import signal
import time
from pathlib import Path

for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
Path(os.environ["FAKE_PIDS"], str(os.getpid())).touch()
time.sleep(60)
