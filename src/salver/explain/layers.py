"""The layer whose activations a map is of: any tensor [channels, height, width] between input and output.

A layer is said by its tensor's name or by its number among these tensors, counted from the last one where it
is negative, as in a list. Text that is the name of a tensor means that tensor, digits too. A network that is
stored with an instance keeps the order of its tensors, and not their names.
"""

from __future__ import annotations

from itertools import accumulate

from salver.core.errors import SalverError, suggestion
from salver.explain.copies import part_behind
from salver.nets.network import Network
from salver.nets.operators import Conv, ConvTranspose, Node, Relu, Reshape, Transpose

Layer = int | str | None
_WHERE = "activation map"
_ENDINGS = ("", "_output_0", ":0")
"""What PyTorch and TensorFlow put behind the name of an operator to name its tensor."""
_NO_IMAGE = "use a classifier with a convolution"


def layer_of(network: Network, layer: Layer) -> Node:
    """The node that makes a layer's tensor.

    Args:
        layer: None for the last ReLU over an image of several pixels that every path from the input to the
            output passes.

    Raises:
        SalverError: there is no such layer, it is the input or no image, or the output does not depend on it.
    """
    if layer is None:
        return _last_relu(network)
    known = images(network)
    if isinstance(layer, str):
        name = next((layer + ending for ending in _ENDINGS if layer + ending in network.shapes), None)
        if name is not None:
            found = next((node for node in known if node.name == name), None)
            if found is None:
                raise SalverError(f"{name!r:.80} {_fault(network, name)}", "layer", _choices(network))
            return found
        if not layer.removeprefix("-").isdecimal():
            raise SalverError(f"there is no layer {layer!r:.80}", "layer", _choices(network, layer))
    number = int(layer)
    if not -len(known) <= number < len(known):
        hint = f"choose one of {-len(known)} ... {len(known) - 1}" if known else _NO_IMAGE
        raise SalverError(f"there is no layer {number}", "layer", hint)
    return known[number]


def number_of(network: Network, layer: int | str) -> int:
    """The layer as its number, which a stored network keeps. Raises: SalverError: as `layer_of`."""
    return images(network).index(layer_of(network, layer))


def images(network: Network) -> list[Node]:
    """The nodes that make a tensor [channels, height, width] before the output, in the network's order."""
    first = _channels_first(network)
    return [node for node in part_behind(network, network.output).nodes if first.get(node.name)]


def _last_relu(network: Network) -> Node:
    """One inside a maximum or a Clip, or beside a shortcut, is not on every path: it is part of a layer."""
    nodes, known = part_behind(network, network.output).nodes, images(network)
    last_read = {name: place for place, node in enumerate(nodes) for name in node.inputs}
    before = accumulate((last_read.get(name, 0) for name in (network.input, *(n.name for n in nodes))), max)
    only_ways = [node for place, (node, last) in enumerate(zip(nodes, before, strict=False)) if last <= place]
    for node in reversed(only_ways):
        if isinstance(node.operator, Relu) and node in known and node.shape[1:] != (1, 1):
            return node
    hint = f"name another layer, or {_NO_IMAGE} and a ReLU behind it" if known else _NO_IMAGE
    raise SalverError("no ReLU over an image is on every path to the output", _WHERE, hint)


def _fault(network: Network, name: str) -> str:
    """Why a tensor is no layer."""
    shape, first = network.shapes[name], _channels_first(network)
    if name not in first:
        return "is the input"
    if name not in part_behind(network, network.output).shapes:
        return "is not before the output"
    if len(shape) == 3:
        return "does not have its channels first"
    return f"is no image [channels, height, width]: its shape is {list(shape)}"


def _choices(network: Network, meant: str = "") -> str:
    """Names of layers, without those inside an operator of the file, which the reader names after it."""
    made = {node.name for node in network.nodes}
    names = [node.name for node in images(network)]
    own = [name for name in names if not any(name.startswith(f"{owner}/") for owner in made)]
    inside = [name for name in own if meant and meant in name]
    return f"did you mean {inside[0]}?" if len(inside) == 1 else suggestion(meant, inside or own) or _NO_IMAGE


def _channels_first(network: Network) -> dict[str, bool]:
    """Of every tensor that holds more than the input's entries whether it is an image, channels first.

    A convolution gives one. What moves axes behind it gives none until the next convolution.
    """
    found, moved = dict[str, bool](), {network.input: False}
    for node in network.nodes:
        window = isinstance(node.operator, Conv | ConvTranspose)
        moves = isinstance(node.operator, Transpose)
        moved[node.name] = not window and (moves or any(moved[name] for name in node.inputs))
        if not isinstance(node.operator, Reshape | Transpose) or not found.keys().isdisjoint(node.inputs):
            found[node.name] = len(node.shape) == 3 and not moved[node.name]
    return found
