"""Bounding must keep a known solution, even where floating point is at its worst.

A random point x is made a solution: its own saliency, computed exactly, is asked for with delta 0. Nothing
that bounding decides may then contradict x. Weights that differ by many orders of magnitude, or cancel almost
completely, make the pseudo-inverse of the backward pass ill-conditioned and the sums lose their digits.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from experiments.soundness.networks import Layer, dense, random_layers, single
from salver.explain.unroll import logit_combination, unroll
from salver.nets.network import lower
from salver.nets.onnx.writer import to_bytes, to_model
from salver.oracle.exact import exact_margin, exact_outputs
from salver.solvers.bounding.propagation import propagate
from salver.solvers.hybrid.node import SearchNode, children, root_node, tighten
from salver.solvers.query import Query
from salver.spec import Property, box_clauses, float32_down, float32_up


def near_copies(rng: np.random.Generator, layers: list[Layer]) -> list[Layer]:
    """One neuron of every hidden layer almost a copy of another, with almost opposite outgoing weights."""
    result = list(layers)
    for number in range(len(layers) - 1):
        (weight, bias), (after, shift) = ((w.copy(), b.copy()) for w, b in result[number : number + 2])
        if len(bias) < 2:
            continue
        one, other = rng.choice(len(bias), 2, replace=False)
        spread = 10.0 ** rng.uniform(-7.0, -2.0)
        weight[other], bias[other] = weight[one] * (1 + spread), bias[one]
        after[:, other] = -after[:, one] * (1 + spread * rng.normal(size=len(shift)))
        result[number : number + 2] = [(single(weight), single(bias)), (single(after), shift)]
    return result


def solution(seed: int, folder: Path) -> tuple[Query, np.ndarray]:
    """A query with delta 0 and a point [n] that satisfies it over the reals."""
    rng = np.random.default_rng((seed, 5))
    sizes = [int(rng.integers(1, 6)), *rng.integers(2, 11, int(rng.integers(1, 4))).tolist(), 3]
    layers = random_layers(rng, sizes, str(rng.choice(["normal", "skewed", "cancelling", "dyadic"])))
    if rng.random() < 0.5:
        layers = near_copies(rng, layers)
    network = unroll(dense(layers), logit_combination(3, 0, 1 if rng.random() < 0.3 else None))
    centre = single(rng.uniform(-1.0, 1.0, sizes[0]))
    reach = 2.0 ** rng.integers(-4, 3)
    low, high = float32_down(centre - reach), float32_up(centre + reach)
    x = np.clip(single(rng.uniform(low, high)), low, high)
    exact = exact_outputs(network, x)[3:]
    sides = [[_outwards(value, side) for value in exact] for side in (-1, 1)]
    clauses = box_clauses(3, *(np.array(side) for side in sides))
    path = folder / f"{seed}.onnx"
    path.write_bytes(to_bytes(to_model(network)))
    query = Query(path, network, Property(low, high, clauses, network.output_size))
    assert exact_margin(network, query.prop, x) >= 0
    return query, x


def _outwards(value: Fraction, side: int) -> float:
    """The nearest binary32 number not below (side 1) or not above (-1) an exact value."""
    near = float(value)
    if side * (Fraction(near) - value) < 0:
        near = float(np.nextafter(near, side * np.inf))
    return float((float32_up if side > 0 else float32_down)(near))


def excluded(query: Query, x: np.ndarray, node: SearchNode) -> str:
    """What the bounds of a node that x belongs to say against x; "" if nothing."""
    bounds = tighten(query, node)
    if bounds is None:
        return "infeasible"
    _, zs, values = query.program.evaluate(x)
    for number, z in enumerate(zs):
        size = 1e-12 * (1 + np.abs(z[0]))
        if (z[0] < bounds.pre_lower[number] - size).any() or (z[0] > bounds.pre_upper[number] + size).any():
            return f"z {number} is outside its range"
        if ((bounds.signs[number] > 0) & (z[0] < -size)).any():
            return f"z {number} is said to be on"
        if ((bounds.signs[number] < 0) & (z[0] > size)).any():
            return f"z {number} is said to be off"
    for number in range(len(query.program.blocks)):
        low, high = bounds.block_lower[number], bounds.block_upper[number]
        slack = 1e-11 * (1 + np.abs(values[number][0]))
        if (values[number][0] < low - slack).any() or (values[number][0] > high + slack).any():
            return f"block {number} is outside its range"
    pair = children(query, bounds, node)
    for child in pair:
        here = all(
            ((sign == 0) | (sign * z[0] > 0)).all() for sign, z in zip(child.signs.values(), zs, strict=True)
        )
        if here:
            return excluded(query, x, child)
    return ""


@pytest.mark.parametrize("first", range(0, 120, 20))
def test_a_solution_survives_down_to_its_leaf(first: int, tmp_path: Path) -> None:
    for seed in range(first, first + 20):
        query, x = solution(seed, tmp_path)
        assert not excluded(query, x, root_node(query)), seed


def test_a_wrong_bound_would_be_noticed(tmp_path: Path) -> None:
    query, x = solution(3, tmp_path)
    bounds = propagate(lower(query.network), query.prop.input_lower, query.prop.input_upper)
    z = query.program.evaluate(x)[1][0][0]
    wrong = [-np.sign(z).astype(np.int8), *bounds.signs[1:]]
    assert excluded(query, x, SearchNode(dict(enumerate(wrong)), bounds))
