"""Copies of a network at inputs that are affine in X entry by entry, and weighted sums of what they give.

Methods that look at a network in several places (SmoothGrad, integrated gradients, occlusion) are such
copies. They repeat the network's nodes; in a file their equal weights are stored once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from salver.nets.network import Network
from salver.nets.operators import Add, Array, Linear, Node, Operator, Scale, Shape, held
from salver.nets.operators.linear import product


def copy_at(network: Network, prefix: str, scale: Array, shift: Array) -> list[Node]:
    """The network at scale * X + shift, as nodes to be added to a network with the same input.

    Args:
        prefix: goes before the names of all nodes; no other tensor's name may begin with it.
        scale, shift: [n].

    Returns:
        The nodes in order, of which the last gives the network's output.
    """
    network = part_behind(network, network.output)
    size, entry = network.input_size, prefix + network.input
    names = {network.input: entry, **{node.name: prefix + node.name for node in network.nodes}}
    nodes = [Node(entry, Scale(held(scale), held(shift)), (network.input,), (size,))]
    for node in network.nodes:
        inputs = tuple(names[name] for name in node.inputs)
        nodes.append(replace(node, name=names[node.name], inputs=inputs))
    return nodes


def into_first_weights(copy: list[Node]) -> list[Node]:
    """A copy with scale and shift of its input in the weights of its first layers, where all are dense.

    Weights are products in float64. A copy whose first layers are others stays as it is.
    """
    entry, rest = copy[0], copy[1:]
    assert isinstance(entry.operator, Scale)
    done = []
    for node in rest:
        if entry.name in node.inputs:
            operator = _behind(entry.operator, node)
            if operator is None:
                return copy
            done.append(replace(node, operator=operator, inputs=entry.inputs))
        else:
            done.append(node)
    readers = sum(entry.name in node.inputs for node in rest)
    return into_first_weights(done) if readers == 1 and isinstance(done[0].operator, Scale) else done


def _behind(entry: Scale, node: Node) -> Operator | None:
    """One operator for a node's operator behind an elementwise one; None where there is none."""
    match node.operator:
        case Scale(scale, shift):
            return entry.followed_by(scale, shift, node.shape)
        case Linear(weight, bias):
            scaled = product(weight, entry.scale[None])
            shifted = bias + weight.astype(np.float64) @ entry.shift.astype(np.float64)
            return None if scaled is None else Linear(scaled, held(shifted))
    return None


def part_behind(network: Network, output: str) -> Network:
    """The network with this tensor as its output and without the nodes that it does not depend on.

    The node that gives the output comes last.
    """
    needed, kept = {output}, []
    for node in reversed(network.nodes):
        if node.name in needed:
            needed.update(node.inputs)
            kept.append(node)
    return replace(network, nodes=tuple(reversed(kept)), output=output)


def weighted_sum(
    nodes: list[Node], parts: Sequence[str], weights: npt.ArrayLike, shape: Shape, prefix: str
) -> str:
    """Appends the sum of weights[k] * parts[k] to `nodes` and names its tensor.

    Where all weights are equal, the sum is formed first and scaled once.

    Args:
        parts: names of tensors of this shape, at least one.
        weights: [parts].
        prefix: of the names of new nodes; no other tensor's name may begin with it.
    """
    factors = np.asarray(weights, np.float64)
    alike = all(one == other for one, other in pairwise(factors.tolist()))
    terms = list(parts)
    if not alike:
        names = [f"{prefix}_part{number}" for number in range(len(terms))]
        terms = [_scaled(nodes, *term, shape) for term in zip(terms, factors.tolist(), names, strict=True)]
    total = terms[0]
    for number, term in enumerate(terms[1:]):
        nodes.append(Node(f"{prefix}_sum{number}", Add(), (total, term), shape))
        total = nodes[-1].name
    return _scaled(nodes, total, float(factors[0]), f"{prefix}_mean", shape) if alike else total


def _scaled(nodes: list[Node], part: str, factor: float, name: str, shape: Shape) -> str:
    if factor == 1:
        return part
    scale = held(np.full(shape, factor))
    nodes.append(Node(name, Scale(scale, np.zeros_like(scale)), (part,), shape))
    return name
