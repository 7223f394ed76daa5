"""A solver on thousands of random small queries, each against exact enumeration.

    python -m tests.soundness.campaign --count 10000 --seed 0 --jobs 2 --solver hybrid

prints counts by verdict and by kind of query; the exit status is 1 when an answer is wrong.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from salver.judge.campaign import Finding, run_campaign
from salver.solvers.query import Query
from tests.soundness.queries import draw
from tests.soundness.variants import SOLVERS


def labelled(folder: Path, seed: int) -> tuple[str, Query]:
    """`draw` as a campaign wants it."""
    case = draw(folder, seed)
    return case.label, case.query


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="number of queries")
    parser.add_argument("--seed", type=int, default=0, help="first seed; query i has seed + i")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--solver", choices=SOLVERS, default="hybrid")
    parser.add_argument("--budget", type=float, default=10.0, help="seconds per query")
    chosen = parser.parse_args(arguments)

    def watch(finding: Finding) -> None:
        if finding.complaint:
            print(f"WRONG seed {finding.seed}: {finding.complaint}", flush=True)
        done = finding.seed - chosen.seed + 1
        if done % 1000 == 0:
            print(f"{done} done", file=sys.stderr, flush=True)

    seeds = range(chosen.seed, chosen.seed + chosen.count)
    campaign = run_campaign(
        labelled, SOLVERS[chosen.solver], seeds, chosen.budget, jobs=chosen.jobs, watch=watch
    )
    print(campaign.summary())
    return 1 if campaign.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
