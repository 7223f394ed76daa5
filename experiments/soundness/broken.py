"""Solvers that are wrong in ways that happen, and after how many queries a campaign notices each.

    python -m experiments.soundness.broken --seed 0 --most 400

Each mutant is a correct solver with one thing broken: a wrong sign in a relaxation, a clause lost in
reading, a class taken for its neighbour, a mask of 1 at z = 0, a box halved, a branch skipped, a guess at the
limit, a witness that is not one. They are asked random queries (`queries.draw`) and held against
enumeration, replay and rational arithmetic (`experiments.soundness.examine`), none of which they share code
with. The exit status is 1 when one is not caught.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np

from experiments.soundness.examine import Finding, run_campaign, sample
from experiments.soundness.queries import draw
from salver.nets.program import MaskBlock, Program
from salver.solvers.bounding import block_lines
from salver.solvers.bounding.relaxation import Lines, relu_lines
from salver.solvers.hybrid import tree
from salver.solvers.hybrid.node import root_node
from salver.solvers.hybrid.probing import Probed
from salver.solvers.hybrid.tree import search
from salver.solvers.query import Budget, Options, Query, Result, Solver, Verdict
from salver.spec import Atom, Property


def correct(query: Query, budget: Budget, options: Options) -> Result:
    """The search without its attack: bounds, probing, branching and exact leaves decide everything."""
    return search(query, budget, options, [root_node(query)])


def believing(query: Query, asked: Property, budget: Budget, options: Options) -> Result:
    """Answers another property than the one given, and prints its witness unchecked."""
    return correct(replace(query, prop=asked), budget, options)


@contextmanager
def swapped_lines() -> Iterator[None]:
    """Upper and lower line of an open ReLU change places."""

    def wrong(signs: Any, low: Any, high: Any) -> Lines:
        lines = relu_lines(signs, low, high)
        return replace(
            lines,
            lower_slope=lines.upper_slope, upper_slope=lines.lower_slope,
            lower_offset=lines.upper_offset, upper_offset=lines.lower_offset,
        )  # fmt: skip

    with mock.patch.object(block_lines, "relu_lines", wrong):
        yield


def wrong_bound_sign(query: Query, budget: Budget, options: Options) -> Result:
    """Lower and upper bound are swapped in the relaxation of a ReLU."""
    with swapped_lines():
        return correct(query, budget, options)


def dropped_clause(query: Query, budget: Budget, options: Options) -> Result:
    """The last assertion of the file is not read."""
    return believing(query, replace(query.prop, clauses=query.prop.clauses[:-1]), budget, options)


def dropped_disjunct(query: Query, budget: Budget, options: Options) -> Result:
    """Of an `or` only the first alternative is read."""
    first = tuple(clause[:1] for clause in query.prop.clauses)
    return believing(query, replace(query.prop, clauses=first), budget, options)


def other_class(query: Query, budget: Budget, options: Options) -> Result:
    """The index of every output compared with another one is off by one."""
    size = query.prop.output_count

    def shifted(atom: Atom) -> Atom:
        return atom if atom.other is None else replace(atom, left=(atom.left + 1) % size)

    clauses = tuple(tuple(tuple(map(shifted, part)) for part in clause) for clause in query.prop.clauses)
    return believing(query, replace(query.prop, clauses=clauses), budget, options)


def mask_at_zero(query: Query, budget: Budget, options: Options) -> Result:
    """ReLU'(0) = 1: a falsifier and a search that both believe it, over points where z = 0 is frequent."""
    points = sample(query, 0).astype(np.float32).astype(np.float64)
    points = points[[query.prop.inputs_inside(point) for point in points]]
    outputs = _with_mask_at_zero(query.program, points)
    at_kink = (np.abs(outputs - query.program.evaluate(points)[0]) > 1e-6).any(axis=1)
    margins = np.where(at_kink, query.prop.margin(outputs), -1.0)
    if margins.max(initial=-1.0) >= 0:
        return Result(Verdict.SAT, points[int(margins.argmax())])
    return correct(query, budget, options)


def _with_mask_at_zero(program: Program, x: Any) -> Any:
    """Outputs [k, m] with masks 1[z >= 0]."""
    values: dict[int, Any] = {-1: np.asarray(x, np.float64)}

    def affine(form: Any) -> Any:
        total = np.tile(form.constant, (len(values[-1]), 1))
        for block, matrix in form.terms.items():
            total = total + (matrix @ values[block].T).T
        return total

    for number, block in enumerate(program.blocks):
        match block:
            case MaskBlock():
                values[number] = (affine(program.pre[block.pre].affine) >= 0).astype(float)
            case _ if hasattr(block, "pre"):
                values[number] = np.maximum(affine(program.pre[block.pre].affine), 0)
            case _ if hasattr(block, "mask"):
                values[number] = values[block.mask] * affine(block.value)
            case _:
                values[number] = np.abs(affine(block.value))
    return affine(program.output)


def no_saliency(query: Query, budget: Budget, options: Options) -> Result:
    """The conditions on single outputs (the saliency's box) are ignored."""
    kept = tuple(c for c in query.prop.clauses if any(a.other is not None for part in c for a in part))
    return believing(query, replace(query.prop, clauses=kept), budget, options)


def half_box(query: Query, budget: Budget, options: Options) -> Result:
    """Epsilon is taken for the width of the box."""
    low, high = query.prop.input_lower, query.prop.input_upper
    quarter = (high - low) / 4
    sides = [np.asarray(side, np.float32).astype(np.float64) for side in (low + quarter, high - quarter)]
    box = replace(query.prop, input_lower=sides[0], input_upper=np.maximum(*sides))
    return believing(query, box, budget, options)


def skipped_branch(query: Query, budget: Budget, options: Options) -> Result:
    """Of the two sides of a split only the second is searched, and no leaf is handed to a back end early."""
    children = tree.children
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(tree, "children", lambda *given: children(*given)[1:]))
        stack.enter_context(mock.patch.object(tree, "LEAF_FIRST", 0))
        stack.enter_context(mock.patch.object(tree.TreeSearch, "_probe", _no_probe))
        found = tree.TreeSearch(query, budget, options)
        found.leaf.value = 0
        return found.run([root_node(query)], lambda _: None)


def _no_probe(self: Any, bounds: Any, node: Any) -> Any:
    return Probed(False, dict(enumerate(bounds.signs)), rows=node.rows)


def unsat_on_timeout(query: Query, budget: Budget, options: Options) -> Result:
    """What is not found before the limit is said not to exist."""
    result = correct(query, Budget(0.0), options)
    return Result(Verdict.UNSAT) if result.verdict is Verdict.TIMED_OUT else result


def another_witness(query: Query, budget: Budget, options: Options) -> Result:
    """Every `sat` comes with the witness of another instance: here, the middle of the unit box."""
    result = correct(query, budget, options)
    other = np.full(len(query.prop.input_lower), 0.5)
    return replace(result, witness=other) if result.verdict is Verdict.SAT else result


def outside_by_a_thousandth(query: Query, budget: Budget, options: Options) -> Result:
    """The first entry of a witness lies 1e-3 above the box."""
    result = correct(query, budget, options)
    if result.witness is None:
        return result
    x = result.witness.copy()
    x[0] = float(np.float32(query.prop.input_upper[0] + 1e-3))
    return replace(result, witness=x)


def no_witness(query: Query, budget: Budget, options: Options) -> Result:
    """`sat`, and nothing else."""
    return replace(correct(query, budget, options), witness=None)


MUTANTS: dict[str, Solver] = {
    "a: relaxation's sides swapped": wrong_bound_sign,
    "b: last clause lost": dropped_clause,
    "b: alternatives lost": dropped_disjunct,
    "c: class off by one": other_class,
    "d: mask 1 at z = 0": mask_at_zero,
    "e: saliency ignored": no_saliency,
    "f: box halved": half_box,
    "g: branch skipped": skipped_branch,
    "h: unsat at the limit": unsat_on_timeout,
    "i: another witness": another_witness,
    "j: witness 1e-3 outside": outside_by_a_thousandth,
    "k: no witness": no_witness,
}


def caught(solver: Solver, first: int, most: int) -> tuple[int, Finding] | None:
    """How many queries it takes until an answer is complained about, and the complaint; None when none is."""
    for count in range(1, most + 1):
        (finding,) = run_campaign(draw, solver, [first + count - 1]).findings
        if finding.complaint:
            return count, finding
    return None


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    parser.add_argument("--most", type=int, default=400, help="queries per mutant")
    chosen = parser.parse_args(arguments)
    missed = 0
    for name, solver in MUTANTS.items():
        found = caught(solver, chosen.seed, chosen.most)
        missed += found is None
        what = f"{found[0]:4d}  {found[1].complaint[:90]}" if found else f"not caught in {chosen.most}"
        print(f"{name:30s} {what}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
