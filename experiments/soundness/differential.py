"""Solvers against each other on networks too large to enumerate, with their times.

    python -m experiments.soundness.differential --count 40 --seed 0 --solvers hybrid milp crown --budget 20

The exit status is 1 when two solvers disagree (one `sat`, one `unsat`) or a witness does not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.soundness.medium import medium
from experiments.soundness.variants import SOLVERS
from salver.oracle.exact import exact_margin
from salver.solvers.query import Budget, Options, Query, Result, Solver, Verdict

SLOWER_S = 1.0


@dataclass(frozen=True)
class Answers:
    """One query: verdict and seconds per solver, and what is wrong with them."""

    seed: int
    label: str
    verdicts: dict[str, Verdict]
    seconds: dict[str, float]
    complaint: str

    def line(self) -> str:
        """One row of the table."""
        parts = [f"{name} {self.verdicts[name].value} {self.seconds[name]:.2f}" for name in self.verdicts]
        slow = "  SLOWER" if self.hybrid_is_slower else ""
        return f"{self.seed:5d} {self.label:22s} " + "  ".join(parts) + slow + f"  {self.complaint}"

    @property
    def hybrid_is_slower(self) -> bool:
        """Whether `hybrid` took over a second more than another solver that has an answer."""
        others = [
            self.seconds[name]
            for name, verdict in self.verdicts.items()
            if name != "hybrid" and verdict in (Verdict.SAT, Verdict.UNSAT)
        ]
        return "hybrid" in self.seconds and self.seconds["hybrid"] > min(others, default=1e9) + SLOWER_S


def compare(query: Query, solvers: dict[str, Solver], budget_s: float, seed: int, label: str) -> Answers:
    """Asks every solver; a `sat` must come with a point that holds in replay."""
    results: dict[str, Result] = {}
    seconds: dict[str, float] = {}
    for name, solver in solvers.items():
        started = time.monotonic()
        with contextlib.redirect_stderr(io.StringIO()):
            results[name] = solver(query, Budget(budget_s), Options(seed=seed))
        seconds[name] = time.monotonic() - started
    verdicts = {name: result.verdict for name, result in results.items()}
    return Answers(seed, label, verdicts, seconds, _complaint(query, results))


def _complaint(query: Query, results: dict[str, Result]) -> str:
    sat = [name for name, result in results.items() if result.verdict is Verdict.SAT]
    unsat = [name for name, result in results.items() if result.verdict is Verdict.UNSAT]
    for name in sat:
        witness = results[name].witness
        if witness is None or query.confirm(witness) is None:
            return f"the witness of {name} does not survive replay"
    if sat and unsat:
        margins = [
            float(exact_margin(query.network, query.prop, witness))
            for name in sat
            if (witness := results[name].witness) is not None
        ]
        return f"DISAGREE: unsat by {unsat}, sat by {sat} with margins {margins} over the reals"
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    parser.add_argument("--budget", type=float, default=20.0, help="seconds per query and solver")
    parser.add_argument("--open", type=int, default=30, help="most open neurons")
    parser.add_argument("--trained", action="store_true", help="digits networks among them")
    parser.add_argument("--solvers", nargs="+", choices=SOLVERS, default=["hybrid", "milp", "crown"])
    chosen = parser.parse_args(arguments)
    solvers = {name: SOLVERS[name] for name in chosen.solvers}
    rows = []
    for seed in range(chosen.seed, chosen.seed + chosen.count):
        with tempfile.TemporaryDirectory() as folder:
            label, query = medium(Path(folder), seed, chosen.trained, chosen.open)
            rows.append(compare(query, solvers, chosen.budget, seed, label))
        print(rows[-1].line(), flush=True)
    print(_totals(rows))
    return 1 if any(row.complaint for row in rows) else 0


def _totals(rows: list[Answers]) -> str:
    decisive = (Verdict.SAT, Verdict.UNSAT)
    lines = []
    for name in rows[0].verdicts:
        answered = sum(row.verdicts[name] in decisive for row in rows)
        lines.append(
            f"{name}: answered {answered} of {len(rows)}, {sum(r.seconds[name] for r in rows):.1f} s"
        )
    lines.append(f"unsat by any: {sum(Verdict.UNSAT in row.verdicts.values() for row in rows)}")
    lines.append(f"sat by any: {sum(Verdict.SAT in row.verdicts.values() for row in rows)}")
    lines.append(f"complaints: {[row.seed for row in rows if row.complaint]}")
    lines.append(f"hybrid over {SLOWER_S:g} s slower: {[row.seed for row in rows if row.hybrid_is_slower]}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
