"""Writes to its temporary folder until no space is left (at most the given MiB), then says unknown.

With `free` as third argument it makes room again first, with `flood` it prints 1 MiB more.
"""

import os
import sys
from pathlib import Path

file = Path(os.environ["TMPDIR"], "huge")
try:
    with file.open("wb", buffering=0) as stream:
        for _ in range(int(sys.argv[2])):
            stream.write(b"x" * (1 << 20))
except OSError as error:
    print(f"cannot write: {error.strerror}", file=sys.stderr, flush=True)
if sys.argv[3:] == ["free"]:
    file.unlink()
print("unknown\nno space left")
if sys.argv[3:] == ["flood"]:
    print("x" * (1 << 20))
