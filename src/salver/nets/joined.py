"""Networks beside each other, and terms over their inputs and outputs, as one network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from salver.nets.network import Network, NetworkBuilder
from salver.nets.operators import Concat, Linear, Mul, Node


def side_by_side(networks: Sequence[Network]) -> Network:
    """X = all inputs one after the other -> all outputs one after the other; one network stays itself."""
    if len(networks) == 1:
        return networks[0]
    total = sum(network.input_size for network in networks)
    nodes: list[Node] = []
    outputs = []
    first = 0
    for number, network in enumerate(networks):
        names = {name: f"{number}:{name}" for name in network.shapes}
        count = network.input_size
        part = Linear.picking(range(first, first + count), total)
        nodes.append(Node(names[network.input], part, ("X",), (count,)))
        nodes += [
            replace(node, name=names[node.name], inputs=tuple(names[name] for name in node.inputs))
            for node in network.nodes
        ]
        outputs.append(names[network.output])
        first += count
    nodes.append(Node("Y", Concat(), tuple(outputs), (sum(network.output_size for network in networks),)))
    return Network("X", total, tuple(nodes), "Y")


def with_rows(
    network: Network, rows: npt.NDArray[np.float32], products: Sequence[tuple[int, ...]] = ()
) -> Network:
    """The network with further outputs: `rows` [r, n + m + p] times its inputs, its outputs and the products.

    Args:
        products: p products of two entries or more of the inputs [n] and outputs [m], numbered as these.
    """
    if not len(rows):
        return network
    builder, size = NetworkBuilder(network, "term"), network.input_size + network.output_size
    both = builder.emit(Concat(), (network.input, network.output), (size,))
    picks: dict[int, str] = {}
    parts = [both]
    for product in products:
        for entry in set(product) - set(picks):
            picks[entry] = builder.emit(Linear.picking([entry], size), (both,), (1,))
        total = picks[product[0]]
        for entry in product[1:]:
            total = builder.emit(Mul(), (total, picks[entry]), (1,))
        parts.append(total)
    powers = builder.emit(Concat(), tuple(parts), (size + len(products),)) if len(parts) > 1 else both
    terms = builder.emit(Linear(rows, np.zeros(len(rows), np.float32)), (powers,), (len(rows),))
    count = network.output_size + len(rows)
    return builder.built(builder.emit(Concat(), (network.output, terms), (count,)))
