"""The command line of a campaign that goes from seed to seed: so many of them, or until its time is over."""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

Examined = tuple[Counter[str], Sequence[str]]
"""Counts by name, and complaints."""


def parser_of(description: str | None, count: int | None = None) -> argparse.ArgumentParser:
    """Options of a campaign of so many seeds, or without a number of one that ends with its time."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    if count is None:
        parser.add_argument("--seconds", type=float, default=60.0)
    else:
        parser.add_argument("--count", type=int, default=count, help="number of seeds")
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    return parser


def examine_seeds(chosen: argparse.Namespace, examine: Callable[[Path, int], Examined]) -> int:
    """Calls `examine` with seed after seed and adds up its counts; the exit status is 1 on any complaint.

    Args:
        chosen: what `parser_of` has read. examine: gets a folder for files, and the seed.
    """
    total, wrong, done = Counter[str](), 0, 0
    until = time.monotonic() + getattr(chosen, "seconds", float("inf"))
    with tempfile.TemporaryDirectory() as folder:
        for seed in itertools.islice(itertools.count(chosen.seed), getattr(chosen, "count", None)):
            if time.monotonic() >= until:
                break
            counts, complaints = examine(Path(folder), seed)
            total, wrong, done = total + counts, wrong + len(complaints), done + 1
            for complaint in complaints:
                print(f"WRONG seed {seed}: {complaint}", flush=True)
    for name, count in sorted(total.items()):
        print(f"{count:8d}  {name}")
    print(f"{wrong:8d}  wrong, in {done} seeds from {chosen.seed}")
    return 1 if wrong else 0
