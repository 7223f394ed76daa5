"""Answers unknown and leaves a process that keeps replacing itself by a child of another session."""

import os
import time
from pathlib import Path

end = time.monotonic() + 20
if os.fork() == 0:
    Path(os.environ["FAKE_PIDS"], str(os.getpid())).touch()
    while time.monotonic() < end:
        if os.fork() != 0:
            os._exit(0)
        os.setsid()
    os._exit(0)
print("unknown")
