"""Closes its output without an answer and does not end."""

import os
import time

os.closerange(0, 3)
time.sleep(60)
