"""Networks beside each other, and linear terms over their inputs and outputs, as one network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from salver.nets.network import Concat, Linear, Network, Node


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


def with_rows(network: Network, rows: npt.NDArray[np.float32]) -> Network:
    """The network with further outputs: `rows` [r, n + m] times its inputs [n] and outputs [m]."""
    if not len(rows):
        return network
    taken, size = set(network.shapes), network.output_size
    both, terms, output = (_fresh(name, taken) for name in ("both", "terms", "with_terms"))
    nodes = (
        *network.nodes,
        Node(both, Concat(), (network.input, network.output), (network.input_size + size,)),
        Node(terms, Linear(rows, np.zeros(len(rows), np.float32)), (both,), (len(rows),)),
        Node(output, Concat(), (network.output, terms), (size + len(rows),)),
    )
    return Network(network.input, network.input_size, nodes, output)


def _fresh(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name
