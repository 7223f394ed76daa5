"""Forks twice into a new session, as daemons do, and answers unknown once the daemon runs.

With a second argument it does not end after that.
"""

import os
import sys
import time
from pathlib import Path

pids = Path(os.environ["FAKE_PIDS"])
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for descriptor in range(3):
            os.close(descriptor)
        (pids / str(os.getpid())).touch()
        time.sleep(60)
    os._exit(0)
os.wait()
while not list(pids.iterdir()):
    time.sleep(0.005)
print("unknown", flush=True)
time.sleep(60 if sys.argv[2:] else 0)
