"""Answers unknown and leaves three children and a grandchild sleeping."""

import os
import time
from pathlib import Path

pids = Path(os.environ["FAKE_PIDS"])
for child in range(3):
    if os.fork() == 0:
        if child == 0:
            os.fork()
        (pids / str(os.getpid())).touch()
        time.sleep(60)
        os._exit(0)
while len(list(pids.iterdir())) < 4:
    time.sleep(0.005)
print("unknown")
