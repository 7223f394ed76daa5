"""Proofs bent towards queries that have a solution, but hardly: none may be accepted.

    python -m experiments.soundness.thin --seconds 300 --seed 0

A query with a proof is weakened just so far that one point meets it, with a slack of 1e-9, 1e-12, 1e-15 or
none (over the reals, checked in fractions). The point is random, a corner, or the centre with its kinks.
Against it go the proof as it is, one that the search finds for the weakened query itself, and changed ones,
where a change is kept when the checker comes at least as far as before. What is accepted of the query as it
was, plain fractions must accept too.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np

from experiments.soundness.naive_checker import WrongError, naive_check
from experiments.soundness.proofs import Steps, corrupt_numbers
from experiments.soundness.queries import draw
from experiments.soundness.seeds import Examined, examine_seeds, parser_of
from experiments.soundness.stated import read_again, statement_of
from salver.oracle.exact import exact_margin, exact_outputs
from salver.proofs.checker import check
from salver.proofs.row_sum import RejectedError
from salver.solvers.proving.search import prove
from salver.solvers.query import Budget, Query
from salver.spec import Atom, Property

SLACKS = (0.0, 1e-15, 1e-12, 1e-9)
CHANGES = 20
MOST_STEPS = 12


def weakened(query: Query, rng: np.random.Generator) -> Property | None:
    """The query with the constants that a point misses moved just behind it; None where that cannot be."""
    prop = query.prop
    low, high = prop.input_lower, prop.input_upper
    corner = np.where(rng.random(len(low)) < 0.5, low, high)
    x = [rng.uniform(low, high), corner, (low + high) / 2, np.clip(0.0, low, high)][int(rng.integers(4))]
    y, slack = exact_outputs(query.network, x), float(rng.choice(SLACKS))
    clauses = []
    for clause in prop.clauses:
        if not clause:
            return None
        chosen = int(rng.integers(len(clause)))
        parts = list(clause)
        parts[chosen] = tuple(kept for atom in clause[chosen] if (kept := _behind(atom, y, slack)))
        clauses.append(tuple(parts))
    changed = Property(low, high, tuple(clauses), prop.output_count)
    return changed if exact_margin(query.network, changed, x) >= 0 else None


def _behind(atom: Atom, y: list[Fraction], slack: float) -> Atom | None:
    """The atom if it holds, else with another constant; None for a comparison that does not hold."""
    value, upper = y[atom.left], atom.relation == "<="
    right = Fraction(atom.constant) if atom.other is None else y[atom.other]
    if (right - value if upper else value - right) >= 0:
        return atom
    if atom.other is not None:
        return None
    limit = float(value) + (slack if upper else -slack)
    while Fraction(limit) < value if upper else Fraction(limit) > value:
        limit = float(np.nextafter(limit, np.inf if upper else -np.inf))
    return Atom(atom.left, atom.relation, constant=limit)


def reached(query: Query, prop: Property, steps: Steps) -> int | None:
    """Steps of a proof that are right; None when the whole is accepted."""
    try:
        check(*statement_of(query, prop), steps)
    except RejectedError as error:
        words = str(error).split()
        return int(words[1].strip(":")) - 1 if words[0] == "step" else len(steps)
    return None


def examine(folder: Path, seed: int, bends: int = 4, changes: int = CHANGES) -> Examined:
    """Counts and complaints of one random query."""
    query, rng = read_again(draw(folder, seed).query), np.random.default_rng((seed, 3))
    counts, complaints = Counter[str](), []
    with contextlib.redirect_stderr(io.StringIO()):
        steps = prove(query, Budget(2.0))
    if not steps or len(steps) > MOST_STEPS:
        return counts, complaints
    for _ in range(bends):
        prop = weakened(query, rng)
        if prop is None:
            continue
        counts["weakened queries"] += 1
        if prove(Query(query.onnx, query.network, prop), Budget(0.5)) is not None:
            complaints.append("the search proves what a point meets")
        best, score = steps, reached(query, prop, steps)
        for _ in range(changes):
            counts["tries against a weakened query"] += 1
            changed = corrupt_numbers(best, rng)
            found = reached(query, prop, changed)
            if found is None or score is None:
                complaints.append("a proof of what a point meets is accepted")
                break
            best, score = (changed, found) if found >= score else (best, score)
    for number in range(3 * bends):
        changed = corrupt_numbers(steps, rng) if number else steps
        counts["tries against the query"] += 1
        if reached(query, query.prop, changed) is None:
            counts["accepted, held against fractions"] += 1
            try:
                naive_check(query.network, query.prop, changed)
            except WrongError as error:
                complaints.append(f"fractions disagree: {error}")
    return counts, complaints


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    return examine_seeds(parser_of(__doc__).parse_args(arguments), examine)


if __name__ == "__main__":
    sys.exit(main())
