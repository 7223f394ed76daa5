"""Three children hold the given MiB each: their own with `private`, their parent's with `shared`."""

import os
import sys
import time

size, kind = int(sys.argv[2]) << 20, sys.argv[3]
parents = b"x" * size if kind == "shared" else b""
for _ in range(3):
    if os.fork() == 0:
        own = b"y" * size if kind == "private" else b""
        time.sleep(60 if kind == "private" else 0.3)
        os._exit(0)
for _ in range(3):
    os.wait()
print("unsat")
