"""A solver on thousands of random small queries, each against exact enumeration.

    python -m experiments.soundness.campaign --count 20000 --folder FOLDER
    python -m experiments.soundness.campaign --count 20000 --folder FOLDER --without attack
    python -m experiments.soundness.campaign --count 2000 --solver crown milp --keep-going

prints counts by verdict and by kind of query; the exit status is 1 when an answer is wrong. The first wrong
answer ends it, and its query is written to the folder. With a folder every finding is stored there, and the
same command continues where the last one ended.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from experiments.soundness.examine import Campaign, Draw, Finding, run_campaign
from experiments.soundness.maps import draw_maps
from experiments.soundness.products import draw_products
from experiments.soundness.queries import draw
from experiments.soundness.variants import SOLVERS
from experiments.soundness.wide import draw_wide
from salver.core.errors import SalverError
from salver.solvers.arguments import parts_left_out
from salver.solvers.query import Options
from salver.solvers.registry import embedded_solver
from salver.spec import Atom, Property

QUERIES: dict[str, Draw] = {
    "wide": draw_wide,
    "plain": draw,
    "products": draw_products,
    "maps": draw_maps,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    chosen = _parser().parse_args(arguments)
    wrong = False
    for solver in chosen.solver:
        try:
            options = Options(without=_left_out(solver, chosen.without))
        except SalverError as error:
            print(f"campaign: {error}", file=sys.stderr)
            return 2
        campaign = _Stored(chosen, solver, options).run()
        parts = f" --without {chosen.without}" if chosen.without else ""
        print(
            f"{solver}{parts}, {chosen.queries} queries from seed {chosen.seed}: {campaign.summary()}",
            flush=True,
        )
        wrong = wrong or bool(campaign.wrong)
    return 1 if wrong else 0


def _left_out(solver: str, parts: str) -> frozenset[str]:
    """The parts to leave out; a variant of a solver, such as `milp-scip`, has none.

    Raises:
        SalverError: the solver has no such part.
    """
    return parts_left_out(embedded_solver(solver), parts) if parts else frozenset()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="number of queries")
    parser.add_argument("--seed", type=int, default=0, help="first seed; query i has seed + i")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--solver", choices=SOLVERS, nargs="+", default=["hybrid"])
    parser.add_argument(
        "--without", default="", metavar="PARTS", help="parts of hybrid to leave out, with commas"
    )
    parser.add_argument("--queries", choices=QUERIES, default="wide")
    parser.add_argument("--budget", type=float, default=10.0, help="seconds per query")
    parser.add_argument("--folder", type=Path, help="for findings and wrong answers' queries")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first wrong answer")
    return parser


def exact_text(prop: Property) -> str:
    """VNN-LIB 1.0 with the constants in full; `to_vnnlib1` takes binary32 numbers alone."""

    def number(value: float) -> str:
        return f"{Decimal(value):f}"

    def atom_text(atom: Atom) -> str:
        right = number(atom.constant) if atom.other is None else f"Y_{atom.other}"
        return f"({atom.relation} Y_{atom.left} {right})"

    lines = [f"(declare-const X_{i} Real)" for i in range(len(prop.input_lower))]
    lines += [f"(declare-const Y_{i} Real)" for i in range(prop.output_count)]
    for relation, side in ((">=", prop.input_lower), ("<=", prop.input_upper)):
        lines += [f"(assert ({relation} X_{i} {number(v)}))" for i, v in enumerate(side.tolist())]
    for clause in prop.clauses:
        parts = [f"(and {' '.join(map(atom_text, part))})" for part in clause]
        lines.append(f"(assert (or {' '.join(parts)}))")
    return "\n".join(lines) + "\n"


class _EndCampaignError(Exception):
    """A wrong answer ends the campaign."""


class _Stored:
    """One solver's campaign, continued from what is stored of it."""

    def __init__(self, chosen: argparse.Namespace, solver: str, options: Options) -> None:
        self.chosen, self.solver, self.options = chosen, solver, options
        parts = "-".join([solver, *sorted(options.without), chosen.queries, f"{chosen.budget:g}s"])
        self.path: Path | None = None
        if chosen.folder is not None:
            chosen.folder.mkdir(parents=True, exist_ok=True)
            self.path = chosen.folder / f"{parts}.jsonl"
        self.found: dict[int, Finding] = {}

    def run(self) -> Campaign:
        """Asks what is not stored yet."""
        chosen, started = self.chosen, time.monotonic()
        seeds = range(chosen.seed, chosen.seed + chosen.count)
        if self.path is not None and self.path.exists():
            lines = self.path.read_text().splitlines()
            stored = [Finding.model_validate_json(line) for line in lines if line.endswith("}")]
            self.found = {finding.seed: finding for finding in stored if finding.seed in seeds}
        left = [seed for seed in seeds if seed not in self.found]
        with contextlib.suppress(_EndCampaignError):
            run_campaign(
                QUERIES[chosen.queries],
                SOLVERS[self.solver],
                left,
                chosen.budget,
                self.options,
                chosen.jobs,
                self._keep,
            )
        findings = tuple(self.found[seed] for seed in sorted(self.found))
        return Campaign(findings, time.monotonic() - started)

    def _keep(self, finding: Finding) -> None:
        self.found[finding.seed] = finding
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(finding.model_dump_json() + "\n")
        if len(self.found) % 1000 == 0:
            print(f"{len(self.found)} done", file=sys.stderr, flush=True)
        if finding.complaint:
            print(f"WRONG seed {finding.seed}: {finding.complaint}", flush=True)
            if self.chosen.folder is not None:
                query = QUERIES[self.chosen.queries](self.chosen.folder, finding.seed).query
                query.onnx.with_suffix(".vnnlib").write_text(exact_text(query.prop))
            if not self.chosen.keep_going:
                raise _EndCampaignError


if __name__ == "__main__":
    sys.exit(main())
