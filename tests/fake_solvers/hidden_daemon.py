"""Leaves a daemon of another session, without environment or open files, that ignores every signal it can."""

import os
import signal
import sys
import time
from pathlib import Path

if sys.argv[1] == "hide":
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    Path(sys.argv[2], str(os.getpid())).touch()
    time.sleep(60)
    os._exit(0)
pids = os.environ["FAKE_PIDS"]
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.chdir("/")
        os.closerange(0, 256)
        os.execve(sys.executable, [sys.executable, "-I", "-S", __file__, "hide", pids], {})
    os._exit(0)
os.wait()
while not list(Path(pids).iterdir()):
    time.sleep(0.005)
print("unknown")
