"""Bound operators for auto_LiRPA: ReLU, step, gate and product.

They remember what their rounding is worked out from. The planes are those of Wang et al., "Beta-CROWN"
(NeurIPS 2021), for the ReLU; McCormick's for gate and product. All are made here: auto_LiRPA's own ReLU keeps
bounds 1e-8 apart, which is much beside values of that size.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from salver.solvers.bounding.relaxation import FLAT, TINY
from salver.solvers.crown.lirpa import import_lirpa


@cache
def traced_functions() -> tuple[Any, Any, Any]:
    """The torch functions that the tracer writes as `salver::Step`, `salver::Gate` and `salver::Product`."""
    import torch

    class Step(torch.autograd.Function):
        """1[z > 0]."""

        @staticmethod
        def symbolic(graph: Any, z: Any) -> Any:
            return graph.op("salver::Step", z).setType(z.type())

        @staticmethod
        def forward(context: Any, z: Any) -> Any:
            return (z > 0).to(z.dtype)

    class Gate(torch.autograd.Function):
        """mask * value."""

        @staticmethod
        def symbolic(graph: Any, mask: Any, value: Any) -> Any:
            return graph.op("salver::Gate", mask, value).setType(value.type())

        @staticmethod
        def forward(context: Any, mask: Any, value: Any) -> Any:
            return mask * value

    class Product(torch.autograd.Function):
        """factor * value."""

        @staticmethod
        def symbolic(graph: Any, factor: Any, value: Any) -> Any:
            return graph.op("salver::Product", factor, value).setType(value.type())

        @staticmethod
        def forward(context: Any, factor: Any, value: Any) -> Any:
            return factor * value

    return Step, Gate, Product


@cache
def bound_classes() -> tuple[Any, Any, Any, Any]:
    """Classes (ReLU, step, gate, product).

    `coefficients` holds (lA, uA) [rows, batch, size] of the last pass, `slope` the steepest slope
    [batch, size] they were multiplied by; `size` is given to a step: sums of absolute values that z was added
    up from.
    """
    import_lirpa()
    from auto_LiRPA.bound_ops import Bound, BoundRelu

    class RecordedRelu(BoundRelu):  # type: ignore[misc]
        coefficients: tuple[Any, Any] = (None, None)
        slope: Any = None

        def bound_backward(self, last_lA: Any, last_uA: Any, *inputs: Any, **_: Any) -> Any:
            self.coefficients = (last_lA, last_uA)
            low, high = relu_planes(inputs[0].lower, inputs[0].upper)
            self.slope = high[0].abs()
            lA, lower_bias = _substitute(last_lA, low, high)
            uA, upper_bias = _substitute(last_uA, high, low)
            return [(lA[0], uA[0])], lower_bias, upper_bias

    class BoundStep(Bound):  # type: ignore[misc]
        coefficients: tuple[Any, Any] = (None, None)
        slope: Any = None
        size: Any = 0.0

        def __init__(self, attr: Any, inputs: Any, output_index: int, options: Any) -> None:
            super().__init__(attr, inputs, output_index, options)
            self.nonlinear = True
            self.requires_input_bounds = [0]

        def forward(self, z: Any) -> Any:
            return (z > 0).to(z.dtype)

        def interval_propagate(self, *v: Any) -> Any:
            return self.forward(v[0][0]), self.forward(v[0][1])

        def bound_backward(self, last_lA: Any, last_uA: Any, z: Any, **_: Any) -> Any:
            self.coefficients = (last_lA, last_uA)
            low, high = step_planes(z.lower, z.upper, self.size)
            self.slope = low[0].abs() + high[0].abs()
            lA, lower_bias = _substitute(last_lA, low, high)
            uA, upper_bias = _substitute(last_uA, high, low)
            return [(lA[0], uA[0])], lower_bias, upper_bias

    class BoundGate(Bound):  # type: ignore[misc]
        coefficients: tuple[Any, Any] = (None, None)
        slope: Any = 1.0

        def __init__(self, attr: Any, inputs: Any, output_index: int, options: Any) -> None:
            super().__init__(attr, inputs, output_index, options)
            self.nonlinear = True
            self.requires_input_bounds = [0, 1]

        def forward(self, mask: Any, value: Any) -> Any:
            return mask * value

        def interval_propagate(self, *v: Any) -> Any:
            (mask_low, mask_high), (low, high) = v[0], v[1]
            corners = [mask_low * low, mask_low * high, mask_high * low, mask_high * high]
            return _extreme(corners, -1), _extreme(corners, 1)

        def bound_backward(self, last_lA: Any, last_uA: Any, mask: Any, value: Any, **_: Any) -> Any:
            self.coefficients = (last_lA, last_uA)
            low, high = self.planes(mask, value)
            lA, lower_bias = _substitute(last_lA, low, high)
            uA, upper_bias = _substitute(last_uA, high, low)
            return [(lA[0], uA[0]), (lA[1], uA[1])], lower_bias, upper_bias

        def planes(self, mask: Any, value: Any) -> Any:
            z = mask.inputs[0]
            return gate_planes(mask.lower, mask.upper, value.lower, value.upper, z.upper > -z.lower)

    class BoundProduct(BoundGate):
        def planes(self, mask: Any, value: Any) -> Any:
            return product_planes(mask.lower, mask.upper, value.lower, value.upper)

    return RecordedRelu, BoundStep, BoundGate, BoundProduct


def relu_planes(low: Any, high: Any) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Planes (slope, shift) below and above max(z, 0) for z in [low, high], elementwise: the triangle."""
    import torch

    on = low > 0
    unstable = ~on & (high > 0)
    steep = torch.where(unstable, high / torch.where(unstable, high - low, 1.0), on.to(low.dtype))
    below = torch.where(unstable, (high > -low).to(low.dtype), on.to(low.dtype))
    return (below, torch.zeros_like(low)), (steep, torch.where(unstable, -steep * low, 0.0))


def step_planes(low: Any, high: Any, size: Any = 0.0) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Planes (slope, shift) below and above 1[z > 0] for z in [low, high], elementwise.

    An unstable neuron gets z / high below if that line has more area under it than 0, and 1 - z / low
    above if it has less than 1; no line where z reaches less than `FLAT` of its `size`, since it would
    multiply rounding errors.
    """
    import torch

    zero = torch.zeros_like(low)
    flat = (zero + FLAT * size).clamp(min=TINY)
    on, off = low > 0, high <= 0
    unstable = ~on & ~off
    rising = unstable & (high > -low) & (high > flat)
    falling = unstable & (high < -low) & (-low > flat)
    below = torch.where(rising, 1.0 / torch.where(rising, high, 1.0), zero)
    above = torch.where(falling, -1.0 / torch.where(falling, low, 1.0), zero)
    return (below, on.to(low.dtype)), (above, (~off).to(low.dtype))


def gate_planes(
    mask_low: Any, mask_high: Any, low: Any, high: Any, mostly_on: Any
) -> tuple[tuple[Any, Any, Any], tuple[Any, Any, Any]]:
    """McCormick planes (mask slope, value slope, shift) below and above mask * value, elementwise.

    Of each pair the one that is exact where the mask is on is taken where `mostly_on`, else the one that
    is exact where it is off.
    """
    import torch

    def choose(at_low: Any, at_high: Any) -> tuple[Any, Any, Any]:
        slope = torch.where(mostly_on, at_high, at_low)
        mask = torch.where(mostly_on, mask_high, mask_low)
        return slope, mask, -slope * mask

    return choose(low, high), choose(high, low)


def product_planes(
    factor_low: Any, factor_high: Any, low: Any, high: Any
) -> tuple[tuple[Any, Any, Any], tuple[Any, Any, Any]]:
    """McCormick planes (factor slope, value slope, shift) below and above factor * value, elementwise.

    Of each pair the one that is exact at the end of the factor's range that is nearer to 0: there a factor is
    whenever few of its masks are on.
    """
    import torch

    at_high = factor_high.abs() < factor_low.abs()
    value = torch.where(at_high, factor_high, factor_low)
    below, above = torch.where(at_high, high, low), torch.where(at_high, low, high)
    return (below, value, -value * below), (above, value, -value * above)


def _substitute(last: Any, plane_of_plus: Any, plane_of_minus: Any) -> tuple[list[Any], Any]:
    """Coefficients [rows, batch, size] through planes (slopes ..., shift) chosen by sign, and a bias."""
    if last is None:
        return [None] * (len(plane_of_plus) - 1), 0.0
    plus, minus = last.clamp(min=0), last.clamp(max=0)
    through = [plus * p + minus * m for p, m in zip(plane_of_plus, plane_of_minus, strict=True)]
    return through[:-1], through[-1].sum(-1)


def _extreme(tensors: list[Any], sign: int) -> Any:
    import torch

    stacked = torch.stack(tensors)
    return stacked.amax(0) if sign > 0 else stacked.amin(0)
