"""Powers of two between layers, at the input or at the output change nothing in what the checker accepts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.soundness.queries import draw
from experiments.soundness.stated import file_of, graph_of, read_again, statement_of
from salver.nets import network as nets
from salver.nets import operators as ops
from salver.proofs.checker import check
from salver.proofs.context import fitting
from salver.proofs.exact import PLACES
from salver.proofs.graph import STEP, Graph
from salver.proofs.row_sum import RejectedError
from salver.solvers.proving.search import prove
from salver.solvers.proving.statement import exact
from salver.solvers.query import Budget
from salver.spec import Atom, Property

LINEAR = (ops.Linear, ops.Conv, ops.ConvTranspose, ops.Scale)
Scales = dict[str, int]
"""Exponent of two by which each tensor is multiplied."""


def _groups(network: nets.Network) -> dict[str, str]:
    """A representative of the tensors that must share one scale; "" where it must be 0."""
    parent = {name: name for name in network.shapes} | {"": ""}

    def find(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    def join(one: str, other: str) -> None:
        first, second = sorted((find(one), find(other)))
        parent[second] = first

    signs = {node.name for node in network.nodes if isinstance(node.operator, ops.Sign)}
    masks = {node.name for node in network.nodes if node.inputs[0] in signs}
    for node in network.nodes:
        if node.name in masks | signs:
            join(node.name, "")
        elif isinstance(node.operator, ops.Mul):
            join(node.name, next(name for name in node.inputs if name not in masks))
        elif not isinstance(node.operator, LINEAR):
            for name in node.inputs:
                join(node.name, name)
    return {name: find(name) for name in network.shapes}


def _scales(network: nets.Network, rng: np.random.Generator) -> Scales:
    groups = _groups(network)
    drawn = {group: int(rng.integers(-40, 41)) for group in sorted(set(groups.values()))} | {"": 0}
    return {name: drawn[group] for name, group in groups.items()}


def _scaled(network: nets.Network, scales: Scales) -> nets.Network:
    nodes = []
    for node in network.nodes:
        weight = np.float32(2.0 ** (scales[node.name] - scales[node.inputs[0]]))
        shift, operator = np.float32(2.0 ** scales[node.name]), node.operator
        match operator:
            case ops.Linear() | ops.Conv():
                operator = replace(operator, weight=operator.weight * weight, bias=operator.bias * shift)
            case ops.ConvTranspose():
                operator = replace(operator, weight=operator.weight * weight)
            case ops.Scale():
                operator = replace(operator, scale=operator.scale * weight, shift=operator.shift * shift)
        nodes.append(replace(node, operator=operator))
    return replace(network, nodes=tuple(nodes))


def _scaled_property(prop: Property, source: float, target: float) -> Property:
    def atom(one: Atom) -> Atom:
        return replace(one, constant=one.constant * target)

    clauses = tuple(tuple(tuple(map(atom, part)) for part in clause) for clause in prop.clauses)
    return Property(prop.input_lower * source, prop.input_upper * source, clauses, prop.output_count)


def _scaled_steps(steps: list[Any], graph: Graph, scales: Scales, output: str) -> list[Any]:
    """The same deductions of the scaled tensors: a row of t is 2^scale(t) times what it was."""
    changed = []
    for step in steps:
        target = scales.get(step.get("tensor", ""), 0)
        groups = []
        for kind, name, lemmas, entries, weights in step.get("by", []):
            row = 0 if name.startswith(STEP) else scales[output if kind == "atom" else graph.root(name)]
            factor = 2.0 ** (target - row)
            groups.append([kind, name, lemmas, entries, [value * factor for value in weights]])
        changed.append({**step, "by": groups})
    return changed


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2, 7, 8, 37, 94, 137])
def test_a_proof_of_scaled_layers_is_accepted_as_before(tmp_path: Path, seed: int) -> None:
    query, rng = read_again(draw(tmp_path, seed).query), np.random.default_rng(seed)
    steps = prove(query, Budget(10.0))
    assert steps is not None
    check(*statement_of(query), steps)
    for _ in range(4):
        scales = _scales(query.network, rng)
        network = _scaled(query.network, scales)
        sides = (2.0 ** scales[network.input], 2.0 ** scales[network.output])
        prop = _scaled_property(query.prop, *sides)
        changed = _scaled_steps(steps, graph_of(query.network), scales, network.output)
        check(file_of(network), exact(prop), changed)


def _line(weight: float) -> nets.Network:
    operator = ops.Linear(np.array([[weight]], np.float32), np.zeros(1, np.float32))
    return nets.Network("X", 1, (ops.Node("Y", operator, ("X",), (1,)),), "Y")


@pytest.mark.parametrize("exponent", [-120, -60, -40, 0, 40, 100])
def test_outputs_of_any_size_are_told_from_a_bound_that_they_miss_by_little(exponent: int) -> None:
    size = 2.0**exponent
    rows = [["atom", "", [0], [[0, 0, 0]], [1.0]], ["high", "Y", [0], [0], [1.0]]]
    for miss, accepted in ((1e-6, True), (-1e-6, False)):
        atom = Atom(0, ">=", constant=size * (1 + miss))
        prop = exact(Property(np.zeros(1), np.ones(1), (((atom,),),), 1))
        if accepted:
            assert check(file_of(_line(size)), prop, [{"do": "close", "by": rows}]) == 1
        else:
            with pytest.raises(RejectedError, match="no contradiction"):
                check(file_of(_line(size)), prop, [{"do": "close", "by": rows}])


def test_ordinary_numbers_have_the_usual_places() -> None:
    prop = exact(Property(np.zeros(1), np.ones(1), (), 1))
    assert fitting(graph_of(_line(0.5)), prop).places == PLACES
    assert fitting(graph_of(_line(2.0**-40)), prop).places > PLACES + 24
