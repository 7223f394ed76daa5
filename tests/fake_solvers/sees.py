"""Leaves what it sees of the machine among the pids: GPUs and cores; answers unsat a moment later."""

import json
import os
import sys
import time
from pathlib import Path

pids = Path(os.environ["FAKE_PIDS"])
seen = {
    "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
    "cores": sorted(os.sched_getaffinity(0)),
    "from": time.monotonic(),
}
time.sleep(float(sys.argv[2]))
seen["to"] = time.monotonic()
(pids / f"seen-{os.getpid()}").write_text(json.dumps(seen))
print("unsat")
