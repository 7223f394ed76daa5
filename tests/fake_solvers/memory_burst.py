"""Takes 600 MiB as fast as the machine can, then answers unsat."""

import mmap

block = mmap.mmap(-1, 600 << 20)
for start in range(0, len(block), 1 << 20):
    block[start : start + (1 << 20)] = b"x" * (1 << 20)
print("unsat")
