"""Convolutional queries that have a solution by construction: an `unsat` is wrong, however wide the network.

    python -m experiments.soundness.planted --count 300

The networks are wide enough for sparse matrices, too wide for the exact oracle. Convolutions are grouped,
strided, dilated and padded, with residuals, at scales of 1e-12 to 1e12. A point of the box is chosen, and
every condition is set to hold at it with little or much room. The exit status is 1 when an answer is wrong.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from experiments.soundness.networks import Chain, single
from experiments.soundness.seeds import Examined, examine_seeds, parser_of
from salver.explain.unroll import logit_combination, unroll
from salver.nets.network import Network, lower
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.operators import Add, Conv, Reshape
from salver.solvers.hybrid.class_tree import ClassTree
from salver.solvers.hybrid.node import begun_reduction, class_alone, reduced_root, tighten
from salver.solvers.hybrid.solver import solve
from salver.solvers.query import Budget, Options, Query, Verdict
from salver.spec import Atom, Clause, Property

CLASSES = 4
TOUCHING = 1e-7
"""Least room of a condition at the planted point, as a share of the largest output of its kind."""


def draw_planted(folder: Path, seed: int) -> Query:
    """The query of a seed; its network is written to `folder`."""
    rng = np.random.default_rng((seed, 20))
    network = _network(rng)
    size = network.input_size
    point = rng.uniform(-1.0, 1.0, size) * 10 ** rng.uniform(-3.0, 3.0)
    reach = np.abs(point).max() * 10 ** rng.uniform(-3.0, 0.0)
    below, above = (np.where(rng.random(size) < 0.2, 0.0, reach * rng.random(size)) for _ in range(2))
    logits = lower(network).evaluate(point[None])[0][0]
    order = np.argsort(-logits)
    label = int(order[1])
    program = lower(whole := unroll(network, logit_combination(CLASSES, label), "raw"))
    outputs = program.evaluate(point[None])[0][0]
    near = program.evaluate(point + rng.uniform(-1.0, 1.0, (20, size)) * reach)[0]
    room = np.abs(near - outputs).max(axis=0)[CLASSES:] * rng.choice([0.1, 0.5, 2.0])
    floor = TOUCHING * np.abs(outputs[CLASSES:]).max()
    sides = [np.where(rng.random(len(room)) < 0.3, floor, np.maximum(room, floor)) for _ in range(2)]
    clauses: list[Clause] = []
    for entry, (least, most) in enumerate(zip(*sides, strict=True), CLASSES):
        clauses.append(((Atom(entry, ">=", None, float(outputs[entry] - least)),),))
        clauses.append(((Atom(entry, "<=", None, float(outputs[entry] + most)),),))
    clauses.append(tuple((Atom(k, ">=", label),) for k in range(CLASSES) if k != label))
    path = folder / f"{seed}.onnx"
    path.write_bytes(to_bytes(to_model(whole)))
    return Query(path, whole, Property(point - below, point + above, tuple(clauses), whole.output_size))


def _network(rng: np.random.Generator) -> Network:
    """A classifier whose two best logits are nearly the same somewhere."""
    scales = 10 ** rng.uniform(-12.0, 12.0, 4) if rng.random() < 0.5 else np.ones(4)
    channels, side = int(rng.choice([2, 4])), int(rng.integers(6, 13))
    chain = Chain((channels * side * side,))
    chain.add(Reshape(), (channels, side, side))
    for layer in range(int(rng.integers(1, 4))):
        stride, dilation, pad = (int(rng.integers(*ends)) for ends in ((1, 3), (1, 3), (0, 3)))
        groups, width = int(rng.choice([1, 2])), int(rng.choice([4, 8]))
        before, height = chain.shape[:2]
        kernel = 3 if height + 2 * pad > 2 * dilation else 1
        weight = single(rng.normal(size=(width, before // groups, kernel, kernel)) * scales[layer] / 3.0)
        bias = single(rng.normal(size=width) * 0.1 * np.prod(scales[: layer + 1]))
        chain.conv(Conv(weight, bias, (stride, stride), (pad,) * 4, (dilation, dilation), groups))
        chain.relu()
        if rng.random() < 0.4:
            shortcut = chain.last
            weight = single(rng.normal(size=(width, width, 3, 3)) / 3.0)
            chain.conv(Conv(weight, np.zeros(width, np.float32), (1, 1), (1, 1, 1, 1)))
            chain.add(Add(), chain.shape, shortcut)
            chain.relu()
    chain.flat()
    weight = single(rng.normal(size=(CLASSES, chain.shape[0])) / np.sqrt(chain.shape[0]))
    weight[1] = weight[0] * np.float32(1.0 + 10 ** rng.uniform(-6.0, -1.0))
    chain.linear(weight, np.zeros(CLASSES))
    return chain.network()


def answers(query: Query, budget_s: float) -> tuple[Verdict, bool]:
    """What `hybrid` says without its attack, and whether its tree about the class closes everything.

    The tree is asked twice: over the network alone, and after what the map says.
    """
    verdict = solve(query, Budget(budget_s), Options(without=frozenset({"attack"}))).verdict
    reduction = begun_reduction(query)
    alone = None if reduction is None else class_alone(query, reduction, at_least=0.0)
    if alone is not None and ClassTree(*alone, started=-1e6).turn(Budget(budget_s / 4)):
        return verdict, True
    reduced, root = reduced_root(query, reduction)
    bounds = tighten(reduced, root)
    if bounds is None:
        return verdict, True
    return verdict, ClassTree(reduced, bounds, started=-1e6).turn(Budget(budget_s / 4))


def examine(folder: Path, seed: int, budget_s: float) -> Examined:
    """What is said of one query, and whether that is wrong."""
    verdict, closed = answers(draw_planted(folder, seed), budget_s)
    wrong = [f"{verdict.value}, tree about the class {closed}"] if closed or verdict is Verdict.UNSAT else []
    return Counter({verdict.value: 1}), wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = parser_of(__doc__, count=300)
    parser.add_argument("--budget", type=float, default=4.0, help="seconds per query")
    chosen = parser.parse_args(arguments)
    return examine_seeds(chosen, partial(examine, budget_s=chosen.budget))


if __name__ == "__main__":
    sys.exit(main())
