"""Proofs on random small queries: every one found is checked, corrupted, and held against enumeration.

    python -m experiments.soundness.proofs --count 1000 --seed 0 --corruptions 3

The exit status is 1 when a proof is accepted of a query that has a solution, or after a corruption that
leaves nothing proven. Corruptions are of two sorts: of the structure (a step, a branch or a group of rows is
gone, a sign is turned, the file is cut short), tried on the query itself; and of numbers (multipliers,
entries, sides), tried on a sibling of the query that a point is known to satisfy, with its own header: there
no proof can be right, whatever was changed.
"""

from __future__ import annotations

import contextlib
import copy
import io
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.soundness.queries import draw
from experiments.soundness.seeds import Examined, examine_seeds, parser_of
from experiments.soundness.stated import read_again, statement_of
from salver.oracle.enumerate import enumerate_query
from salver.oracle.exact import exact_margin
from salver.proofs.checker import check
from salver.proofs.row_sum import RejectedError
from salver.solvers.proving.search import prove
from salver.solvers.query import Budget, Query
from salver.spec import Property
from salver.spec.truth import Truth

BUDGET_S = 20.0
Steps = list[Any]


def accepted(query: Query, prop: Property, steps: Steps) -> bool:
    """Whether the checker accepts; any other exception than a rejection gets through."""
    try:
        check(*statement_of(query, prop), steps)
    except RejectedError:
        return False
    return True


def satisfiable_sibling(query: Query, rng: np.random.Generator) -> Property | None:
    """The same box with clauses left out until some sampled point satisfies the rest over the reals."""
    prop = query.prop
    points = rng.uniform(prop.input_lower, prop.input_upper, (200, len(prop.input_lower)))
    points = np.vstack([points, (prop.input_lower + prop.input_upper) / 2])
    outputs = query.program.evaluate(points)[0]
    for share in (0.8, 0.5, 0.2, 0.0):
        kept = tuple(clause for clause in prop.clauses if clause and rng.random() < share)
        sibling = Property(prop.input_lower, prop.input_upper, kept, prop.output_count)
        best = int(np.argmax(sibling.margin(outputs)))
        if exact_margin(query.network, sibling, points[best]) >= 0:
            return sibling
    return None


def corrupt_structure(steps: Steps, rng: np.random.Generator) -> Steps:
    """A proof that lacks something it needs, or has something it must not have."""
    steps = copy.deepcopy(steps)
    closing = [i for i, step in enumerate(steps) if step["do"] in ("close", "split", "divide", "case")]
    match rng.choice(["cut", "drop", "negate", "repeat", "unknown"]):
        case "cut" if steps:
            return steps[: rng.integers(len(steps))]
        case "drop" if closing:
            del steps[int(rng.choice(closing))]
        case "negate":
            for step in steps:
                for group in step.get("by", []):
                    group[4] = [-value for value in group[4]]
                    if any(group[4]):
                        return steps
            steps.append({"do": "propagate"})
        case "repeat":
            steps.append({"do": "propagate"} if not steps else copy.deepcopy(steps[-1]))
        case _:
            steps.insert(0, {"do": str(rng.choice(["assume", "", "Close"]))})
    return steps


def corrupt_numbers(steps: Steps, rng: np.random.Generator) -> Steps:
    """Some multipliers, entries, sides or tensors are others than they were."""
    steps = copy.deepcopy(steps)
    names = sorted({str(group[1]) for step in steps for group in step.get("by", []) if group[0] != "atom"})
    for _ in range(int(rng.integers(1, 6))):
        if not steps:
            break
        step = steps[int(rng.integers(len(steps)))]
        groups = step.get("by", [])
        match rng.choice(["multiplier", "entry", "side", "tensor", "part", "where"]):
            case "multiplier" if groups:
                group = groups[int(rng.integers(len(groups)))]
                where = int(rng.integers(len(group[4])))
                group[4][where] = abs(group[4][where]) * float(10.0 ** rng.uniform(-3, 3))
            case "entry" if groups:
                group = groups[int(rng.integers(len(groups)))]
                if group[0] != "atom":
                    group[3][int(rng.integers(len(group[3])))] = int(rng.integers(4))
            case "side" if "side" in step:
                where = int(rng.integers(len(step["side"])))
                step["side"][where] = 1 - step["side"][where]
            case "tensor" if groups and names:
                groups[int(rng.integers(len(groups)))][1] = str(rng.choice(names))
            case "where" if step["do"] == "divide":
                step["at"] = int(rng.integers(4))
                step["where"] = float(step["where"] + rng.choice([-1.0, -1e-9, 1e-9, 1.0]))
            case _:
                for key in ("parts", "at"):
                    if isinstance(step.get(key), list) and step[key]:
                        step[key][int(rng.integers(len(step[key])))] = int(rng.integers(4))
    return steps


def examine(folder: Path, seed: int, corruptions: int) -> Examined:
    """Counts and complaints of one random query."""
    query, rng = read_again(draw(folder, seed).query), np.random.default_rng((seed, 2))
    with contextlib.redirect_stderr(io.StringIO()):
        steps = prove(query, Budget(BUDGET_S))
    truth = enumerate_query(query.network, query.prop).truth
    counts, complaints = Counter[str](), []
    if steps is None:
        counts[f"{truth} without a proof"] += 1
        if truth is Truth.UNSAT:
            print(f"seed {seed}: no proof found")
        return counts, complaints
    counts[f"{truth} with a proof"] += 1
    if truth is Truth.SAT:
        complaints.append("proven, but enumeration has a solution")
    if not accepted(query, query.prop, steps):
        complaints.append("its own proof is rejected")
    sibling = satisfiable_sibling(query, rng)
    tries: list[tuple[str, Property | None, Callable[[Steps, np.random.Generator], Steps]]] = [
        ("structure", query.prop if steps else None, corrupt_structure),
        ("numbers", sibling, corrupt_numbers),
        ("another query", sibling, lambda steps, _: steps),
    ]
    for sort, prop, change in tries:
        for _ in range(corruptions if prop is not None else 0):
            counts[f"corrupted {sort}"] += 1
            changed = change(steps, rng)
            same = sort == "structure" and changed == steps
            if prop is not None and not same and accepted(query, prop, changed):
                complaints.append(f"accepted after a corruption of {sort}")
    return counts, complaints


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = parser_of(__doc__, count=200)
    parser.add_argument("--corruptions", type=int, default=2, help="of each sort per proof")
    chosen = parser.parse_args(arguments)
    return examine_seeds(chosen, partial(examine, corruptions=chosen.corruptions))


if __name__ == "__main__":
    sys.exit(main())
