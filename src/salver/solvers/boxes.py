"""Branch and bound over boxes of inputs, for products that `Program` or the solver cannot hold.

Interval arithmetic refutes a box, points of it are tried, and what is left is halved across its widest
input. This is complete for few inputs, up to solutions that lie on an edge, and of little use for many.
"""

from __future__ import annotations

import heapq
from itertools import count

import numpy as np
import numpy.typing as npt

from salver.nets.affine import UnsupportedQueryError
from salver.nets.network import evaluate, extend_ranges, lower
from salver.nets.operators import Range
from salver.solvers.kinks import outputs_in_fractions
from salver.solvers.query import REAL_TOLERANCE, Budget, Query, Result, Verdict
from salver.spec import Atom

Array = npt.NDArray[np.float64]
MOST_INPUTS = 8
CORNERS = 32
"""Corners of a box that are tried beside its centre."""
NARROWEST = 1e-7
"""Width, relative to the numbers in it, of a box that is not halved: single precision ends there."""


def decides(query: Query) -> bool:
    """Whether a query that a solver does not support is one for boxes: products, and few inputs that vary."""
    try:
        if not lower(query.network).has_products:
            return False
    except UnsupportedQueryError:
        pass
    low, high = query.prop.input_lower, query.prop.input_upper
    return int((high - low > NARROWEST * np.maximum(np.abs(low), np.abs(high))).sum()) <= MOST_INPUTS


def search(query: Query, budget: Budget, seed: int) -> Result:
    """`sat` with a confirmed witness, `unsat` where every box is refuted, else `unknown` or `timed-out`."""
    low, high = query.prop.input_lower, query.prop.input_upper
    draw, order = np.random.default_rng(seed), count()
    # Widths count as shares of the whole box: inputs may be of any size.
    whole = np.where(high > low, high - low, 1.0)
    heap: list[tuple[float, int, Array, Array]] = [(0.0, next(order), low, high)]
    left = 0
    while heap:
        if budget.over:
            return Result(Verdict.TIMED_OUT)
        _, _, low, high = heapq.heappop(heap)
        if refuted(query, low, high):
            continue
        points = np.vstack([(low + high) / 2, np.where(draw.random((CORNERS, len(low))) < 0.5, low, high)])
        margins = query.prop.margin(evaluate(query.network, points))
        witness = _confirmed(query, points[int(np.argmax(margins))])
        if witness is not None:
            return Result(Verdict.SAT, witness)
        axis = int(np.argmax((high - low) / whole))
        if high[axis] - low[axis] <= NARROWEST * max(whole[axis], abs(low[axis]), abs(high[axis])):
            left += 1
            continue
        middle = (low[axis] + high[axis]) / 2
        for side, bound in ((high, middle), (low, middle)):
            half = side.copy()
            half[axis] = bound
            pair = (low, half) if side is high else (half, high)
            heapq.heappush(heap, (-float(margins.max()), next(order), *pair))
    if left:
        return Result(Verdict.UNKNOWN, reason=f"{left} boxes too narrow to halve are left")
    return Result(Verdict.UNSAT, reason="interval arithmetic refutes every box")


def refuted(query: Query, low: Array, high: Array) -> bool:
    """Whether interval arithmetic shows that no input in the box satisfies the property."""
    if query.prop.ball is not None and query.prop.ball.misses(low, high):
        return True
    network = query.network
    ranges: dict[str, Range] = {network.input: (low, high)}
    extend_ranges(ranges, network.nodes, network.shapes)
    least, most = ranges[network.output]
    return any(
        all(any(_impossible(atom, least, most) for atom in part) for part in clause)
        for clause in query.prop.clauses
    )


def _impossible(atom: Atom, least: Array, most: Array) -> bool:
    """Whether the atom fails for all outputs in the ranges; they have room for rounding already."""
    right = (atom.constant,) * 2 if atom.other is None else (least[atom.other], most[atom.other])
    if atom.other == atom.left:
        return False
    return bool(most[atom.left] < right[0] if atom.relation == ">=" else least[atom.left] > right[1])


def _confirmed(query: Query, x: Array) -> Array | None:
    """As `Query.confirm`: the point, if it holds in ONNX Runtime and, up to rounding, over the reals."""
    point = query.clip(x)
    if not query.admits(point):
        return None
    outputs = evaluate(query.network, point[None])[0]
    tolerance = REAL_TOLERANCE * float(np.abs(outputs).max())
    if not (
        query.prop.outputs_satisfied(outputs, tolerance) and query.prop.outputs_satisfied(query.replay(point))
    ):
        return None
    exact = outputs_in_fractions(query.network, point)
    return point if exact is None or query.prop.outputs_satisfied(exact, tolerance) else None
