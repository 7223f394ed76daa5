"""Answers unsat and leaves a note on itself: cores, GPUs and folders it sees, when it began and ended.

A second argument is how many seconds it computes.
"""

import json
import os
import sys
import time
from pathlib import Path

note = {"began": time.monotonic(), "pid": os.getpid(), "cores": sorted(os.sched_getaffinity(0))}
names = ("CUDA_VISIBLE_DEVICES", "HOME", "TMPDIR", "TMP", "XDG_CACHE_HOME")
note |= {"instance": Path(sys.argv[1]).stem, **{name: os.environ.get(name) for name in names}}
end = time.monotonic() + (float(sys.argv[2]) if sys.argv[2:] else 0)
while time.monotonic() < end:
    pass
note["ended"] = time.monotonic()
Path(os.environ["FAKE_PIDS"], f"note-{os.getpid()}.json").write_text(json.dumps(note))
print("unsat")
