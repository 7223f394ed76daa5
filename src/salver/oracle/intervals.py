"""Interval bounds in rational arithmetic: what holds of a network's outputs over a whole box, exactly.

No rounding is involved, so a refutation is a proof; the bounds are as loose as interval arithmetic is.
Meant for claims that are built into a network, and for small boxes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from salver.nets import operators as ops
from salver.nets.network import Network
from salver.oracle.exact import Values, moved_from, rational_entries, rational_parts, unread
from salver.spec.property import Atom, Property

Interval = tuple[Values, Values]
"""Lower and upper ends of every entry of a tensor, flat."""
Signs = Mapping[tuple[str, int], bool]
"""(tensor, entry) -> whether the entry is assumed positive (True) or at most 0 (False)."""
_ZERO, _ONE = Fraction(0), Fraction(1)


def refuted(network: Network, prop: Property, signs: Signs) -> bool:
    """Whether bounds show that no x of the box with the assumed signs satisfies the property.

    Some clause must be impossible: each of its conjunctions has an atom that bounds exclude.
    """
    bounds = RationalBounds.of(network, prop, signs)
    return bounds.empty or any(
        all(any(bounds.greatest_slack(atom) < 0 for atom in conjunction) for conjunction in clause)
        for clause in prop.clauses
    )


@dataclass(frozen=True, eq=False)
class RationalBounds:
    """Interval bounds of every tensor; `empty` when an assumed sign excludes the whole box."""

    network: Network
    values: Mapping[str, Interval]
    empty: bool

    @classmethod
    def of(cls, network: Network, prop: Property, signs: Signs) -> RationalBounds:
        """Bounds over the box of a property, under assumed signs of some entries."""
        box = ([Fraction(v) for v in side.tolist()] for side in (prop.input_lower, prop.input_upper))
        low, high = box
        values: dict[str, Interval] = {network.input: (low, high)}
        shapes, empty = network.shapes, False
        for node in network.nodes:
            arguments = [values[name] for name in node.inputs]
            low, high = _apply(node, arguments, shapes[node.inputs[0]])
            assumed = {entry: on for (tensor, entry), on in signs.items() if tensor == node.name}
            for entry, on in assumed.items():
                low[entry] = max(low[entry], _ZERO) if on else low[entry]
                high[entry] = high[entry] if on else min(high[entry], _ZERO)
                empty |= high[entry] <= 0 if on else low[entry] > 0
            if isinstance(node.operator, ops.Sign):
                for (tensor, entry), on in signs.items():
                    if on and tensor == node.inputs[0]:
                        low[entry], high[entry] = _ONE, _ONE
            values[node.name] = (low, high)
        return cls(network, values, empty)

    def greatest_slack(self, atom: Atom) -> Fraction:
        """An upper bound on how far the atom holds; below 0 it holds nowhere."""
        sign = 1 if atom.relation == ">=" else -1
        row = {atom.left: Fraction(sign)}
        constant = _ZERO
        if atom.other is None:
            constant = -sign * Fraction(atom.constant)
        else:
            row[atom.other] = row.get(atom.other, _ZERO) - sign
        return constant + self._greatest(self.network.output, row)

    def _greatest(self, tensor: str, row: Mapping[int, Fraction]) -> Fraction:
        """An upper bound on a combination of entries: composed through the last linear operators."""
        node = {n.name: n for n in self.network.nodes}.get(tensor)
        if node is not None and isinstance(node.operator, ops.Add):
            return sum((self._greatest(name, row) for name in node.inputs), _ZERO)
        if node is not None and isinstance(node.operator, ops.Concat):
            return self._through_concat(node, row)
        if node is not None and isinstance(node.operator, ops.Linear):
            combined: dict[int, Fraction] = {}
            constant = _ZERO
            for entry, factor in row.items():
                constant += factor * Fraction(float(node.operator.bias[entry]))
                for column, weight in enumerate(node.operator.weight[entry].tolist()):
                    combined[column] = combined.get(column, _ZERO) + factor * Fraction(weight)
            return constant + _top(combined, self.values[node.inputs[0]])
        return _top(row, self.values[tensor])

    def _through_concat(self, node: ops.Node, row: Mapping[int, Fraction]) -> Fraction:
        total, first = _ZERO, 0
        for name in node.inputs:
            size = len(self.values[name][0])
            part = {entry - first: f for entry, f in row.items() if first <= entry < first + size}
            total += self._greatest(name, part) if part else _ZERO
            first += size
        return total


def _top(row: Mapping[int, Fraction], interval: Interval) -> Fraction:
    low, high = interval
    return sum((f * (high[entry] if f > 0 else low[entry]) for entry, f in row.items()), _ZERO)


def _apply(node: ops.Node, arguments: list[Interval], source: ops.Shape) -> Interval:
    operator, (low, high) = node.operator, arguments[0]
    match operator:
        case ops.Linear() | ops.Conv() | ops.ConvTranspose():
            return _linear(operator, source, low, high)
        case ops.Scale():
            parts = rational_parts(operator, node.shape)
            ends = [(a * p + b, a * q + b) for (a, b), p, q in zip(parts, low, high, strict=True)]
            return [min(pair) for pair in ends], [max(pair) for pair in ends]
        case ops.Relu():
            return [max(v, _ZERO) for v in low], [max(v, _ZERO) for v in high]
        case ops.Sign():
            return [_sign(v) for v in low], [_sign(v) for v in high]
        case ops.Abs():
            reach = [max(-p, q) for p, q in zip(low, high, strict=True)]
            return [max(p, -q, _ZERO) for p, q in zip(low, high, strict=True)], reach
        case ops.Mul():
            pairs = zip(low, high, *arguments[1], strict=True)
            corners = [(p * r, p * s, q * r, q * s) for p, q, r, s in pairs]
            return [min(c) for c in corners], [max(c) for c in corners]
        case ops.Add():
            return _sums(low, arguments[1][0], 1), _sums(high, arguments[1][1], 1)
        case ops.Sub():
            return _sums(low, arguments[1][1], -1), _sums(high, arguments[1][0], -1)
        case ops.Concat():
            return [v for part in arguments for v in part[0]], [v for part in arguments for v in part[1]]
        case ops.Reshape():
            return list(low), list(high)
        case ops.Transpose() | ops.Pick():
            places = moved_from(operator, source)
            return _picked(low, places), _picked(high, places)
    raise unread(operator)


def _picked(values: Values, places: list[int]) -> Values:
    return [values[place] if place >= 0 else _ZERO for place in places]


def _sums(first: Values, second: Values, sign: int) -> Values:
    return [a + sign * b for a, b in zip(first, second, strict=True)]


def _sign(value: Fraction) -> Fraction:
    return Fraction((value > 0) - (value < 0))


def _linear(
    operator: ops.Linear | ops.Conv | ops.ConvTranspose, source: ops.Shape, low: Values, high: Values
) -> Interval:
    below, entries = rational_entries(operator, source)
    above = list(below)
    for row, column, weight in entries:
        below[row] += weight * (low[column] if weight > 0 else high[column])
        above[row] += weight * (high[column] if weight > 0 else low[column])
    return below, above
