"""Queries whose clauses leave a choice, with points that are known to meet one of the alternatives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from salver.nets.network import lower
from salver.solvers.query import Query
from salver.spec.property import Atom, Clause, Property
from tests.builders.small_queries import relu_network


@dataclass(frozen=True, eq=False)
class Choice:
    """A query of one clause, and points [k, n] of its box that meet its last alternative, with room."""

    query: Query
    points: np.ndarray


def choice(seed: int, count: int = 2, far: float = 0.05) -> Choice:
    """One clause over a small network of ReLUs alone.

    Args:
        count: alternatives. All but the last ask output 0, or its sum with a bound on output 1, to be larger
            than at every sampled point; the last asks it to be among the least.
        far: how much larger, as a share of what the output spans. Bounds of the whole box do not refute that.
    """
    rng = np.random.default_rng(seed)
    network = relu_network([3, 8, 6, 2], rng)
    low, high = -np.ones(3), np.ones(3)
    x = rng.uniform(low, high, (2000, 3))
    outputs = lower(network).evaluate(x)[0]
    first, second = outputs.T
    span = float(np.ptp(first))
    most = [first.max() + far * (1 + number) * span for number in range(count - 1)]
    above: Clause = tuple((Atom(0, ">=", constant=float(value)),) for value in most)
    limit = float(np.quantile(first, 0.2))
    below = (Atom(0, "<=", constant=limit), Atom(1, "<=", constant=float(second.max()) + 1.0))
    prop = Property(low, high, ((*above, below),), 2)
    return Choice(Query(Path("none.onnx"), network, prop), x[first < limit - 0.01 * span])
