"""Never answers: sleeps past any limit."""

import os
import time
from pathlib import Path

Path(os.environ["FAKE_PIDS"], str(os.getpid())).touch()
time.sleep(60)
