"""Points at which rounding alone may decide the sign of a pre-activation, where a saliency map jumps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.nets.network import Network, evaluate
from salver.nets.program import Program

Array = npt.NDArray[np.float64]
SINGLE, DOUBLE = 1e-6, 2.0**-44
"""How far a pre-activation may be off in either precision, as a share of the absolute values it adds up."""
MOST_PRODUCTS = 50_000
"""Products of a network up to which a point is evaluated in fractions, at some 2 microseconds each."""


def near_kink(program: Program, x: Array) -> bool:
    """Whether single precision may carry `x` [n] over some z = 0 at which a value jumps.

    Nothing rounds in a z that adds up zeros, such as that of a place outside an image.
    """
    _, pre, values = program.evaluate(x[None])
    return _near_zero(program, pre, {block: np.abs(value[0]) for block, value in values.items()}, SINGLE)


def hangs_on_rounding(program: Program, x: Array) -> bool:
    """The same of double precision, where what a z adds up may itself have been rounded on the way."""
    return _near_zero(program, program.evaluate(x[None])[1], program.sums(x, DOUBLE), DOUBLE)


def _near_zero(program: Program, pre: list[Array], sizes: Mapping[int, Array], share: float) -> bool:
    """Whether some z at whose 0 a value jumps is below a share of what it adds up, by blocks' sizes."""
    sums = {jump: program.pre[jump].affine.magnitude(sizes) for jump in program.jumps}
    return any(bool((np.abs(pre[jump][0]) < share * total).any()) for jump, total in sums.items())


def outputs_over_the_reals(network: Network, program: Program, x: Array) -> Array:
    """The network's outputs at `x` [n]: in float64, or in fractions where a sign hangs on its rounding.

    Fractions go through the network itself: where its `program` composed linear maps, that was rounded.
    """
    exact = outputs_in_fractions(network, x) if hangs_on_rounding(program, x) else None
    return np.asarray(program.evaluate(x[None])[0][0], np.float64) if exact is None else exact


def outputs_in_fractions(network: Network, x: Array) -> Array | None:
    """The network's outputs at `x` [n], each rounded once; None where they take more than `MOST_PRODUCTS`."""
    if _products(network) > MOST_PRODUCTS:
        return None
    nodes = (node.with_operator(node.operator.with_arrays(_exact)) for node in network.nodes)
    exact = evaluate(replace(network, nodes=tuple(nodes)), _exact(x))
    return np.array([float(value) for value in exact[0]])


def _products(network: Network) -> int:
    """How many products evaluating the network takes, about."""
    total, shapes = 0, network.shapes
    for node in network.nodes:
        weight = node.operator.arrays().get("weight", np.zeros(node.shape))
        places = [math.prod(shape[1:]) for shape in (node.shape, shapes[node.inputs[0]])]
        total += weight.size * min(places)
    return total


def _exact(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Floats as fractions, in an array of objects; whole numbers, such as places, as they are."""
    if values.dtype.kind != "f":
        return values
    made = np.empty(values.size, object)
    made[:] = [Fraction(value) for value in values.ravel().tolist()]
    return made.reshape(values.shape)
