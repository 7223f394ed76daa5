"""The command line of a campaign that goes from seed to seed until its time is over."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Sequence


def run_for(
    description: str | None,
    examine: Callable[[int], tuple[Counter[str], Sequence[str]]],
    arguments: Sequence[str] | None,
) -> int:
    """Calls `examine` with seed after seed and adds up its counts; the exit status is 1 on any complaint."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    chosen = parser.parse_args(arguments)
    total, wrong, seed, until = Counter[str](), 0, chosen.seed, time.monotonic() + chosen.seconds
    while time.monotonic() < until:
        counts, complaints = examine(seed)
        total, wrong = total + counts, wrong + len(complaints)
        for complaint in complaints:
            print(f"WRONG seed {seed}: {complaint}", flush=True)
        seed += 1
    for name, count in sorted(total.items()):
        print(f"{count:8d}  {name}")
    print(f"{wrong:8d}  wrong, in seeds {chosen.seed} to {seed - 1}")
    return 1 if wrong else 0
