"""Networks beside each other, and terms over their inputs and outputs, as one network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from salver.nets.network import Network
from salver.nets.operators import Concat, Linear, Mul, Node


def beside(networks: Sequence[Network]) -> Network:
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
        weight = np.zeros((count, total), np.float32)
        weight[np.arange(count), first + np.arange(count)] = 1.0
        part = Linear(weight, np.zeros(count, np.float32))
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
    names, size = _Names(network), network.input_size + network.output_size
    both = Node(names.fresh("both"), Concat(), (network.input, network.output), (size,))
    nodes = [*network.nodes, both]
    picks: dict[int, str] = {}
    parts = [both.name]
    for product in products:
        for entry in set(product) - set(picks):
            weight = np.zeros((1, size), np.float32)
            weight[0, entry] = 1.0
            picks[entry] = names.fresh(f"entry{entry}")
            nodes.append(Node(picks[entry], Linear(weight, np.zeros(1, np.float32)), (both.name,), (1,)))
        total = picks[product[0]]
        for entry in product[1:]:
            nodes.append(Node(names.fresh("product"), Mul(), (total, picks[entry]), (1,)))
            total = nodes[-1].name
        parts.append(total)
    if len(parts) > 1:
        nodes.append(Node(names.fresh("powers"), Concat(), tuple(parts), (size + len(products),)))
    terms = Linear(rows, np.zeros(len(rows), np.float32))
    nodes.append(Node(names.fresh("terms"), terms, (nodes[-1].name,), (len(rows),)))
    pair, count = (network.output, nodes[-1].name), network.output_size + len(rows)
    nodes.append(Node(names.fresh("with_terms"), Concat(), pair, (count,)))
    return Network(network.input, network.input_size, tuple(nodes), nodes[-1].name)


class _Names:
    def __init__(self, network: Network) -> None:
        self.taken = set(network.shapes)

    def fresh(self, name: str) -> str:
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name
