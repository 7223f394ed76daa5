"""Answers after a moment as a hash of its second argument and of the query's name says, always the same.

It leaves a file `start-NAME-QUERY-PID` first. As `slow` it never answers.
"""

import hashlib
import os
import sys
import time
from pathlib import Path

query, name, pids = Path(sys.argv[1]).stem, sys.argv[2], Path(os.environ["FAKE_PIDS"])
(pids / f"start-{name}-{query}-{os.getpid()}").touch()
if name == "slow":
    time.sleep(60)
digest = hashlib.sha256(f"{name} {query}".encode()).digest()
time.sleep(digest[0] / 3000)
kind = digest[1] % 6
if kind == 0:
    os.abort()
if kind == 1 and os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(60)
    os._exit(0)
answers = {2: f"sat\n((X_0 0.{digest[2]})\n(X_1 0.25))", 3: "nonsense", 4: "unsat"}
print(answers.get(kind, "unknown"), flush=True)
