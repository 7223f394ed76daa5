"""Rational arithmetic: what a network's output is over the reals, with no rounding at all.

Weights and inputs are binary floating-point numbers, hence rationals, and every operator of a `Network`
keeps them rational. This is the last word where a floating-point answer hangs on a rounding; it is slow
and meant for single points and small networks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from scipy import sparse

from salver.core.errors import SalverError
from salver.nets import operators as ops
from salver.nets.network import Network
from salver.spec.property import Property

Values = list[Fraction]


def exact_outputs(network: Network, x: npt.ArrayLike | Values) -> Values:
    """Outputs at the point `x` [n], float64 or fractions, exactly; the mask is 1[z > 0]."""
    values: dict[str, Values] = {network.input: _point(x)}
    shapes = network.shapes
    for node in network.nodes:
        arguments = [values[name] for name in node.inputs]
        values[node.name] = _apply(node.operator, arguments, shapes[node.inputs[0]], node.shape)
    return values[network.output]


def _point(x: npt.ArrayLike | Values) -> Values:
    if isinstance(x, list) and x and all(isinstance(v, Fraction) for v in x):
        return [Fraction(v) for v in x]
    return _fractions(np.asarray(x, np.float64).ravel())


def exact_margin(network: Network, prop: Property, x: npt.ArrayLike | Values) -> Fraction | float:
    """Least slack over the clauses at `x` [n]; >= 0 exactly when `x` satisfies them over the reals.

    A property without clauses has margin +inf, an empty clause -inf.
    """
    y = exact_outputs(network, x)
    worst: Fraction | float = float("inf")
    for clause in prop.clauses:
        best: Fraction | float = float("-inf")
        for conjunction in clause:
            slacks = []
            for atom in conjunction:
                right = Fraction(atom.constant) if atom.other is None else y[atom.other]
                slacks.append(y[atom.left] - right if atom.relation == ">=" else right - y[atom.left])
            best = max(best, min(slacks, default=float("inf")))
        worst = min(worst, best)
    return worst


def _apply(operator: ops.Operator, arguments: list[Values], source: ops.Shape, shape: ops.Shape) -> Values:
    first = arguments[0]
    match operator:
        case ops.Linear() | ops.Conv() | ops.ConvTranspose():
            result, entries = rational_entries(operator, source)
            for row, column, weight in entries:
                result[row] += weight * first[column]
            return result
        case ops.Scale():
            return [a * v + b for (a, b), v in zip(rational_parts(operator, shape), first, strict=True)]
        case ops.Relu():
            return [max(v, Fraction(0)) for v in first]
        case ops.Sign():
            return [Fraction((v > 0) - (v < 0)) for v in first]
        case ops.Abs():
            return [abs(v) for v in first]
        case ops.Mul():
            return [a * b for a, b in zip(*arguments, strict=True)]
        case ops.Add():
            return [a + b for a, b in zip(*arguments, strict=True)]
        case ops.Sub():
            return [a - b for a, b in zip(*arguments, strict=True)]
        case ops.Concat():
            return [v for part in arguments for v in part]
        case ops.Reshape():
            return first
        case ops.Transpose() | ops.Pick():
            return [first[place] if place >= 0 else Fraction(0) for place in moved_from(operator, source)]
    raise unread(operator)


def moved_from(operator: ops.Transpose | ops.Pick, source: ops.Shape) -> list[int]:
    """Where each entry of the output comes from, -1 for a 0; counted out axis by axis."""
    if isinstance(operator, ops.Pick):
        return [int(place) for place in operator.places]
    steps = [math.prod(source[axis + 1 :]) for axis in range(len(source))]
    found = [0]
    for axis in operator.axes:
        found = [place + steps[axis] * number for place in found for number in range(source[axis])]
    return found


def unread(operator: ops.Operator) -> SalverError:
    """Of an operator that the exact answers do not know; they read each by themselves, on purpose."""
    what = f"operator {type(operator).__name__} has no exact answer"
    return SalverError(what, "oracle", "ask for no exact answer of this network")


def rational_entries(
    operator: ops.Linear | ops.Conv | ops.ConvTranspose, source: ops.Shape
) -> tuple[Values, Iterator[tuple[int, int, Fraction]]]:
    """Bias [outputs] and entries (row, column, weight) of a linear operator over flat tensors of `source`.

    A convolution's matrix holds single weights as they are, so nothing is rounded.
    """
    matrix, bias = operator.matrix_and_bias(source)
    coo = sparse.coo_array(matrix)
    rows, columns = (axis.tolist() for axis in coo.coords)
    weights = (Fraction(weight) for weight in coo.data.tolist())
    return _fractions(np.asarray(bias, np.float64)), zip(rows, columns, weights, strict=True)


def rational_parts(operator: ops.Scale, shape: ops.Shape) -> Iterator[tuple[Fraction, Fraction]]:
    """Factor and shift of every entry of a tensor of this shape."""
    full = (np.broadcast_to(part, shape).ravel() for part in (operator.scale, operator.shift))
    return zip(*(_fractions(part.astype(np.float64)) for part in full), strict=True)


def _fractions(values: npt.NDArray[np.float64]) -> Values:
    return [Fraction(value) for value in values.tolist()]
