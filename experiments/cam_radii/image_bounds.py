"""Sound bounds inside convolutional ReLU networks over an input box, for networks too large for a whole pass.

Interval arithmetic forward; then, for each ReLU's argument that it leaves open, backward linear bounds
(CROWN: Zhang et al., NeurIPS 2018, with the lower slope 0 or 1 that leaves less area) on windows of
coefficients (`windows`), so that a row costs what its receptive field costs. The same pass bounds any linear
combination of neighbouring entries, such as the difference of two pixels of a class activation map.

Rounding, all in float64 with unit u = 2^-53: replacing a row A over a node's output by a row over its input,
exactly A (W h + b) = (A W) h + A b, errs on the whole box by at most n u |A| G, where G = |W| |h|max + |b|
holds the node's absolute values (for a ReLU, twice the largest |z|: its lines have slope at most 1) and n
counts the terms of the longest sum (Higham, Accuracy and Stability of Numerical Algorithms, ch. 3); the
rounded row is then taken as it is, so nothing is assumed about cancellation. A pass adds |A| G up along the
way and moves its bound down by 4 n u times that; the 4 covers second-order terms, the rounded lines and the
rounding of G. Intervals are moved outwards in the same way, and not at all where nothing is rounded (the
picks and zeros of a maximum).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from experiments.cam_radii.windows import InputWindow, Tensor, WindowPlaces, transposed, windows_below
from salver.core.errors import SalverError
from salver.nets.network import Network
from salver.nets.operators import Add, Conv, Node, Relu, Reshape, Scale, Sub

_UNIT = 2.0**-53
_TINY = 1e-300
"""Underflow: far above n times the smallest number, far below anything of interest."""
_ENTRIES = 500_000
"""Largest window tensor of one pass, in entries; more rows go in several passes."""
Range = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Box:
    """Bounds of the input [n], float64."""

    lower: Tensor
    upper: Tensor


@dataclass(eq=False)
class Ranges:
    """What is known over a box.

    Attributes:
        values: tensor -> lower and upper bounds, in the tensor's shape.
        sizes: tensor -> G, see above.
        lines: ReLU node -> lower slope, upper slope, upper offset; the lower offset is 0.
        opened: ReLU node -> where its argument may have either sign.
    """

    values: dict[str, Range] = field(default_factory=dict)
    sizes: dict[str, Tensor] = field(default_factory=dict)
    lines: dict[str, tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict)
    opened: dict[str, Tensor] = field(default_factory=dict)


class ConvBounder:
    """Bounds over boxes for the image part of one network.

    Args:
        network: reshapes its flat input to an image first.
        last: the last tensor of interest; every node it depends on must be a Conv, ReLU, Scale, Add or Sub
            over images.

    Raises:
        SalverError: another operator is among them.
    """

    def __init__(self, network: Network, last: str) -> None:
        self.network = network
        self.nodes = _ancestors(network, last)
        self.weights = {
            (node.name, part): torch.tensor(value, dtype=torch.float64)
            for node in self.nodes
            for part, value in node.operator.arrays().items()
        }
        self.shapes = network.shapes
        self.image = self.nodes[0].name
        self._below: dict[tuple[str, tuple[int, int]], dict[str, InputWindow]] = {}

    def ranges(self, box: Box, within: Ranges | None = None, crown: bool = True) -> Ranges:
        """Bounds of every tensor over a box.

        Args:
            crown: backward bounds where intervals leave a sign open.
            within: what is known over a larger box; the results never exceed it.
        """
        found = Ranges()
        behind: set[str] = set()
        for node in self.nodes:
            if any(name in behind for name in node.inputs):
                behind.add(node.name)
            if isinstance(node.operator, Relu):
                if crown and node.inputs[0] in behind:
                    self._tighten(node, found)
                self._relax(node, found)
                behind.add(node.name)
            low, high = self._interval(node, found, box)
            if within is not None:
                low = torch.maximum(low, within.values[node.name][0])
                high = torch.minimum(high, within.values[node.name][1])
            found.values[node.name] = low, high
        return found

    def tightened(self, found: Ranges, name: str, at: Tensor) -> Range:
        """Backward bounds of single entries of a tensor, intersected with what is known [rows], [rows].

        Args:
            at: channel, row and column of each entry [rows, 3].
        """
        channels = self.shapes[name][0]
        low, high = (part[at[:, 0], at[:, 1], at[:, 2]].clone() for part in found.values[name])
        unit = torch.zeros(channels, len(at), 1, 1, dtype=torch.float64)
        unit[at[:, 0], torch.arange(len(at))] = 1.0
        least = self.lower(found, name, torch.cat([unit, -unit], 1), torch.cat([at[:, 1:], at[:, 1:]]))
        return torch.maximum(low, least[: len(at)]), torch.minimum(high, -least[len(at) :])

    def lower(self, found: Ranges, name: str, rows: Tensor, at: Tensor) -> Tensor:
        """Lower bounds [rows] of linear combinations of neighbouring entries of a tensor.

        Args:
            rows: coefficients [channels, rows, h, w] of the windows whose first entry is `at`.
            at: row and column [rows, 2]; the windows lie inside the tensor.
        """
        size = (rows.shape[2], rows.shape[3])
        below = self.below(name, size)
        widest = max(math.prod(window.size) * self.shapes[n][0] for n, window in below.items())
        step = max(1, _ENTRIES // widest)
        parts = [
            self.backward(found, name, rows[:, i : i + step], at[i : i + step])
            for i in range(0, len(at), step)
        ]
        return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)

    def below(self, name: str, size: tuple[int, int]) -> dict[str, InputWindow]:
        """`windows_below`, remembered."""
        if (name, size) not in self._below:
            self._below[name, size] = windows_below(self.nodes, name, size)
        return self._below[name, size]

    def backward(
        self,
        found: Ranges,
        name: str,
        rows: Tensor,
        at: Tensor,
        slopes: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """One pass of `lower`, differentiable in `slopes`.

        Args:
            slopes: ReLU node -> lower slopes in [0, 1] of each row's open neurons [channels, rows, h, w].
        """
        below = self.below(name, (rows.shape[2], rows.shape[3]))
        places = {n: self.places(window, at, n) for n, window in below.items()}
        total = torch.zeros(rows.shape[1], dtype=torch.float64)
        size, terms = torch.zeros_like(total), 0
        pending = {name: rows}
        for node in reversed(self.nodes):
            mine = pending.pop(node.name, None)
            if mine is None:
                continue
            place, operator = places[node.name], node.operator
            size = size + (mine.detach().abs() * place.gather(found.sizes[node.name])).sum((0, 2, 3))
            terms = max(terms, mine.shape[0] * math.prod(mine.shape[2:]))
            match operator:
                case Reshape():
                    low, high = (place.gather(part) for part in found.values[node.name])
                    total = total + (mine.clamp(min=0) * low + mine.clamp(max=0) * high).sum((0, 2, 3))
                    continue
                case Relu():
                    lower, upper, offset = (place.gather(part) for part in found.lines[node.name])
                    if slopes is not None and node.name in slopes:
                        lower = torch.where(place.gather(found.opened[node.name]), slopes[node.name], lower)
                    negative = mine.clamp(max=0)
                    total = total + (negative * offset).sum((0, 2, 3))
                    mine = mine.clamp(min=0) * lower + negative * upper
                case Conv():
                    mine = self._inside(mine, place, node)
                    bias = self.weights[node.name, "bias"]
                    total = total + (mine.sum((2, 3)) * bias[:, None]).sum(0)
                    terms = max(terms, mine.shape[0] * math.prod(operator.weight.shape[2:]))
                    mine = transposed(mine, operator, self.weights[node.name, "weight"])
                case Scale():
                    shift = self._spread(node, "shift")
                    total = total + (mine * place.gather(shift)).sum((0, 2, 3))
                    mine = mine * place.gather(self._spread(node, "scale"))
            for number, source in enumerate(node.inputs):
                signed = -mine if isinstance(operator, Sub) and number else mine
                signed = below[source].embed(signed, below[node.name].before(operator))
                pending[source] = pending[source] + signed if source in pending else signed
        return total - (4 * (terms + len(self.nodes) + 16) * _UNIT * size + _TINY)

    def places(self, window: InputWindow, at: Tensor, name: str) -> WindowPlaces:
        """Where windows of rows at `at` [rows, 2] lie in a tensor."""
        _, height, width = self.shapes[name]
        return WindowPlaces.of(window, at, (height, width))

    def _inside(self, rows: Tensor, place: WindowPlaces, node: Node) -> Tensor:
        """Without coefficients of entries outside the image."""
        if place.inside:
            return rows
        return rows * place.gather(torch.ones(1, *node.shape[1:], dtype=torch.float64))

    def _spread(self, node: Node, part: str) -> Tensor:
        return torch.broadcast_to(self.weights[node.name, part], node.shape).contiguous()

    def _tighten(self, node: Node, found: Ranges) -> None:
        source = node.inputs[0]
        low, high = found.values[source]
        at = ((low < 0) & (high > 0)).nonzero()
        if len(at):
            least, most = self.tightened(found, source, at)
            low, high = low.clone(), high.clone()
            low[at[:, 0], at[:, 1], at[:, 2]], high[at[:, 0], at[:, 1], at[:, 2]] = least, most
            found.values[source] = low, high

    def _relax(self, node: Node, found: Ranges) -> None:
        low, high = found.values[node.inputs[0]]
        on, opened = (low >= 0) & (high > 0), (low < 0) & (high > 0)
        slope = torch.where(opened, high / torch.where(opened, high - low, 1.0), on.double())
        lower = torch.where(opened, high > -low, on).double()
        offset = torch.where(opened, -slope * low, 0.0)
        found.lines[node.name], found.opened[node.name] = (lower, slope, offset), opened

    def _interval(self, node: Node, found: Ranges, box: Box) -> Range:
        operator = node.operator
        if isinstance(operator, Reshape):
            low, high = (part.reshape(node.shape) for part in (box.lower, box.upper))
            found.sizes[node.name] = torch.maximum(low.abs(), high.abs())
            return low, high
        ranges = [found.values[name] for name in node.inputs]
        low, high = ranges[0]
        most = [torch.maximum(part[0].abs(), part[1].abs()) for part in ranges]
        match operator:
            case Relu():
                found.sizes[node.name] = 2 * most[0]
                return low.clamp(min=0), high.clamp(min=0)
            case Conv():
                return self._conv_interval(node, operator, found)
            case Scale():
                scale, shift = self._spread(node, "scale"), self._spread(node, "shift")
                found.sizes[node.name] = scale.abs() * most[0] + shift.abs()
                ends = torch.stack([scale * low, scale * high])
                slack = 16 * _UNIT * found.sizes[node.name] + _TINY
                return ends.amin(0) + shift - slack, ends.amax(0) + shift + slack
            case Sub():
                low, high = low - ranges[1][1], high - ranges[1][0]
            case _:
                low, high = low + ranges[1][0], high + ranges[1][1]
        found.sizes[node.name] = most[0] + most[1]
        return _outwards(low, -torch.inf), _outwards(high, torch.inf)

    def _conv_interval(self, node: Node, operator: Conv, found: Ranges) -> Range:
        low, high = found.values[node.inputs[0]]
        weight, bias = self.weights[node.name, "weight"], self.weights[node.name, "bias"]
        most = torch.maximum(low.abs(), high.abs())
        found.sizes[node.name] = _convolve(operator, most, weight.abs(), bias.abs())
        if _picks(weight, bias):
            return _convolve(operator, low, weight, None), _convolve(operator, high, weight, None)
        centre = _convolve(operator, (high + low) / 2, weight, bias)
        reach = _convolve(operator, (high - low) / 2, weight.abs(), None)
        terms = math.prod(weight.shape[1:]) + 16
        slack = 4 * terms * _UNIT * found.sizes[node.name] + _TINY
        return centre - reach - slack, centre + reach + slack


def _picks(weight: Tensor, bias: Tensor) -> bool:
    """Whether every filter copies one entry, so that no product or sum is rounded."""
    chosen = (weight != 0).flatten(1).sum(1)
    return bool(((weight == 0) | (weight == 1)).all() and (chosen == 1).all() and not bias.any())


def _outwards(bound: Tensor, towards: float) -> Tensor:
    """The next number outwards; a sum of two numbers that is 0 is exact."""
    return torch.where(bound == 0, bound, torch.nextafter(bound, torch.full_like(bound, towards)))


def _convolve(operator: Conv, image: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    top, left, bottom, right = operator.pads
    padded = torch.nn.functional.pad(image[None], (left, right, top, bottom))
    rest = (operator.strides, 0, operator.dilations, operator.groups)
    made: Tensor = torch.nn.functional.conv2d(padded, weight, bias, *rest)
    return made[0]


def _ancestors(network: Network, last: str) -> list[Node]:
    wanted, kept = {last}, []
    for node in reversed(network.nodes):
        if node.name in wanted:
            kept.append(node)
            wanted.update(node.inputs)
    nodes = kept[::-1]
    hint = "use a network of convolutions, ReLUs and pooling over images"
    for number, node in enumerate(nodes):
        first = number == 0 and isinstance(node.operator, Reshape) and node.inputs == (network.input,)
        known = (
            isinstance(node.operator, Conv | Relu | Scale | Add | Sub) and network.input not in node.inputs
        )
        if len(node.shape) != 3 or not (first or known):
            what = f"operator {type(node.operator).__name__} before the last activations"
            raise SalverError(what, "bounds of a convolutional network", hint)
    if not nodes:
        raise SalverError("the input is not an image", "bounds of a convolutional network", hint)
    return nodes
