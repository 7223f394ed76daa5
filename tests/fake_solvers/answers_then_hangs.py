"""Answers unsat at once and then does not end."""

import time

print("unsat", flush=True)
time.sleep(60)
