"""Exact answers where a floating-point linear program of a region cannot tell: rational arithmetic.

With the sign of every pre-activation fixed the network is affine; its maps are computed from the weights
with no rounding, and so is the linear program. `unsat` rests on a checked Farkas certificate, `sat` on a
binary32 point that satisfies the query exactly, since only such a point can be shown by anybody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from salver.nets import operators as ops
from salver.nets.network import Network
from salver.oracle.exact import exact_margin, moved_from, rational_entries, rational_parts, unread
from salver.oracle.rational_lp import maximise
from salver.spec.property import Atom, Property
from salver.spec.truth import Truth

Array = npt.NDArray[np.float64]
Form = list[Fraction]
"""Coefficients of x [n], then the constant."""
LARGEST = 6000
"""Entries of the largest linear program that is solved: rows times inputs."""
_ZERO, _ONE = Fraction(0), Fraction(1)


def decide_region(
    network: Network, prop: Property, signs: Mapping[str, Array], atoms: Sequence[Atom]
) -> tuple[Truth, Array | None]:
    """Whether the atoms hold at some x of the box in one activation region; the point [n] if so.

    Args:
        signs: by tensor, 1 where an argument of a ReLU, mask or absolute value is positive, 0 where it is
            at most 0.
        atoms: what must hold beside the signs.

    Returns:
        `unknown` where the region is too large, or no point of it that binary32 holds was found.
    """
    if network.input_size * network.input_size > LARGEST:
        return Truth.UNKNOWN, None
    region = _ThinRegion(network, signs)
    weak, strict = region.weak, region.strict
    weak += [_slack(region.forms[network.output], atom) for atom in atoms]
    low = [Fraction(v) for v in prop.input_lower.tolist()]
    high = [Fraction(v) for v in prop.input_upper.tolist()]
    if (len(weak) + len(strict) + len(low)) * len(low) > LARGEST:
        return Truth.UNKNOWN, None
    solution = maximise(*_program(strict, weak, low, high), last=len(low))
    if solution.point is None or solution.value is None or (solution.value == 0 and strict):
        return Truth.UNSAT, None
    x = np.array([float(a + y) for a, y in zip(low, solution.point[:-1], strict=True)])
    x = np.clip(x.astype(np.float32).astype(np.float64), prop.input_lower, prop.input_upper)
    if exact_margin(network, prop, x) >= 0:
        return Truth.SAT, x
    return Truth.UNKNOWN, None


def _program(
    strict: list[Form], weak: list[Form], low: Form, high: Form
) -> tuple[list[list[Fraction]], list[Fraction]]:
    """Rows over (x - low, t): strict forms >= t, weak forms >= 0, x <= high, t <= 1."""
    matrix: list[list[Fraction]] = []
    limits: list[Fraction] = []
    for forms, margin in ((strict, _ONE), (weak, _ZERO)):
        for form in forms:
            matrix.append([*(-c for c in form[:-1]), margin])
            limits.append(form[-1] + sum((c * v for c, v in zip(form, low, strict=False) if c), _ZERO))
    for entry, (a, b) in enumerate(zip(low, high, strict=True)):
        matrix.append([_ONE if c == entry else _ZERO for c in range(len(low) + 1)])
        limits.append(b - a)
    matrix.append([*([_ZERO] * len(low)), _ONE])
    limits.append(_ONE)
    return matrix, limits


def _slack(outputs: list[Form], atom: Atom) -> Form:
    """The form that is >= 0 exactly when the atom holds."""
    sign = 1 if atom.relation == ">=" else -1
    left = outputs[atom.left]
    if atom.other is None:
        return [*(sign * c for c in left[:-1]), sign * (left[-1] - Fraction(atom.constant))]
    return [sign * (a - b) for a, b in zip(left, outputs[atom.other], strict=True)]


class _ThinRegion:
    """The network's affine forms on one region, and the forms that must be > 0 or >= 0 there."""

    def __init__(self, network: Network, signs: Mapping[str, Array]) -> None:
        size = network.input_size
        unit = [[_ONE if i == j else _ZERO for j in range(size)] + [_ZERO] for i in range(size)]
        self.forms: dict[str, list[Form]] = {network.input: unit}
        self.strict: list[Form] = []
        self.weak: list[Form] = []
        self.signs = signs
        self.stated: set[str] = set()
        shapes = network.shapes
        for node in network.nodes:
            self.forms[node.name] = self._apply(node, shapes[node.inputs[0]])

    def _positive(self, tensor: str, strictly: bool) -> list[bool]:
        """Signs of a tensor's entries, stated as conditions once."""
        forms = self.forms[tensor]
        positive = []
        for entry, form in enumerate(forms):
            if not any(form[:-1]):
                positive.append(form[-1] > 0)
                continue
            on = bool(self.signs[tensor][entry])
            positive.append(on)
            if tensor not in self.stated:
                if on and strictly:
                    self.strict.append(form)
                else:
                    self.weak.append(form if on else [-c for c in form])
        self.stated.add(tensor)
        return positive

    def _apply(self, node: ops.Node, source: ops.Shape) -> list[Form]:
        operator, first = node.operator, self.forms[node.inputs[0]]
        size = len(first[0])
        match operator:
            case ops.Linear() | ops.Conv() | ops.ConvTranspose():
                return _linear(operator, source, first)
            case ops.Scale():
                parts = rational_parts(operator, node.shape)
                return [
                    [*(a * c for c in form[:-1]), a * form[-1] + b]
                    for (a, b), form in zip(parts, first, strict=True)
                ]
            case ops.Relu():
                on = self._positive(node.inputs[0], strictly=True)
                return [form if p else [_ZERO] * size for p, form in zip(on, first, strict=True)]
            case ops.Sign():
                # Only behind a ReLU, where -1 and 0 are the same.
                on = self._positive(node.inputs[0], strictly=True)
                return [[*([_ZERO] * (size - 1)), _ONE if p else _ZERO] for p in on]
            case ops.Abs():
                on = self._positive(node.inputs[0], strictly=False)
                return [form if p else [-c for c in form] for p, form in zip(on, first, strict=True)]
            case ops.Mul():
                return [_product(a, b) for a, b in zip(first, self.forms[node.inputs[1]], strict=True)]
            case ops.Add() | ops.Sub():
                sign = 1 if isinstance(operator, ops.Add) else -1
                second = self.forms[node.inputs[1]]
                return [
                    [p + sign * q for p, q in zip(a, b, strict=True)]
                    for a, b in zip(first, second, strict=True)
                ]
            case ops.Concat():
                return [form for name in node.inputs for form in self.forms[name]]
            case ops.Reshape():
                return first
            case ops.Transpose() | ops.Pick():
                return [first[p] if p >= 0 else [_ZERO] * size for p in moved_from(operator, source)]
        raise unread(operator)


def _product(first: Form, second: Form) -> Form:
    """A product of two forms, one of which is constant on the region."""
    if any(first[:-1]):
        first, second = second, first
    return [first[-1] * c for c in second]


def _linear(
    operator: ops.Linear | ops.Conv | ops.ConvTranspose, source: ops.Shape, forms: list[Form]
) -> list[Form]:
    bias, entries = rational_entries(operator, source)
    result = [[*([_ZERO] * (len(forms[0]) - 1)), value] for value in bias]
    for row, column, weight in entries:
        for place, value in enumerate(forms[column]):
            if value:
                result[row][place] += weight * value
    return result
