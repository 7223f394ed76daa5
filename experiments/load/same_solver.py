"""How often `salver compare` calls two runs of one solver different.

    python -m experiments.load.same_solver RUN_FOLDER... --tries 1000

The folders are of runs of one suite, best with repetitions; every repetition of every run is taken as a run
of its own. All pairs of them are compared as they are, then resampled: a try draws a pair, and 10 to 100 of
their instances with replacement. Nothing is judged: a claim stands for a solved instance.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from salver.judge.compare import compare
from salver.run.events import EventLog
from salver.runners.answers import Claim, RunRecord
from salver.supervise.finished import Termination

_SOLVED = (Claim.SAT, Claim.UNSAT)


def runs_of(folders: Sequence[Path]) -> dict[str, list[pd.DataFrame]]:
    """By solver: the results of every repetition of every run."""
    found: dict[str, list[pd.DataFrame]] = {}
    for folder in folders:
        rows = [_row(record) for record in EventLog(folder / "events.jsonl").records()]
        for (solver, _), part in pd.DataFrame(rows).groupby(["solver", "repetition"]):
            found.setdefault(str(solver), []).append(part.set_index("instance_id", drop=False))
    return found


def _row(record: RunRecord) -> dict[str, object]:
    timeout = record.termination in (Termination.WALLTIME, Termination.CPUTIME)
    solved = record.ended_well and record.claim in _SOLVED
    outcome = "verified" if solved else "timeout" if timeout else "unknown"
    same = {"suite", "instance_id", "instance", "solver", "repetition", "wall_s"}
    return record.model_dump(include=same) | {
        "outcome": outcome, "cpu_s": record.cpu_s, "limit_s": record.limit_s, "solver_version": "1",
    }  # fmt: skip


def differ(first: pd.DataFrame, second: pd.DataFrame, names: Sequence[str]) -> bool:
    """Whether these instances of two runs, which may be named again and again, are called different."""
    sides = []
    for side in (first, second):
        drawn = side.loc[list(names)].reset_index(drop=True)
        sides.append(drawn.assign(instance_id=[str(i) for i in range(len(drawn))]))
    return compare(*sides)[0].change != "no clear difference"


def main() -> None:
    """Prints one line a solver."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--tries", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    for solver, runs in runs_of(asked.folders).items():
        pairs = [(a, b, sorted(set(a.index) & set(b.index))) for a, b in combinations(runs, 2)]
        pairs = [pair for pair in pairs if len(pair[2]) >= 10]
        real = sum(differ(*pair) for pair in pairs)
        called = 0
        for _ in range(asked.tries):
            first, second, names = pairs[rng.integers(len(pairs))]
            called += differ(first, second, rng.choice(names, rng.integers(10, 101)))
        share = called / asked.tries
        print(f"{solver}: {real} of {len(pairs)} pairs differ;", end=" ")
        print(f"resampled {called} of {asked.tries} ({share:.1%})", flush=True)


if __name__ == "__main__":
    main()
