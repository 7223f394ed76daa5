"""Takes memory without end, up to 1 GiB."""

import time

blocks = []
for _ in range(64):
    blocks.append(b"x" * (16 << 20))
    time.sleep(0.005)
print("unsat")
time.sleep(60)
