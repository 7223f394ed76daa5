"""The embedded solver `hybrid-paper`: CROWN bounds, computed once, handed to Marabou's split-and-conquer.

Le, Gurfinkel, Si, Geng, "Towards Robust Saliency Maps" (ACML 2024), as published: auto_LiRPA bounds the
pre-activations on the forward network and, layer by layer, the variables of the gradient half; Marabou
gets all of them as bounds of its variables; nothing flows back. The paper's auto_LiRPA bounds Jacobians
with an operator that release 0.3 does not have. The same backward pass runs here on the unrolled
gradient, with lines around each mask and McCormick planes for mask times value.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError
from salver.nets.affine import Affine
from salver.nets.program import GateBlock, MaskBlock, Program, ReluBlock
from salver.solvers.absolute import without_abs
from salver.solvers.bounding.bounds import Bounds
from salver.solvers.bounding.propagation import propagate
from salver.solvers.crown.graph import bounded_graph, live_blocks
from salver.solvers.crown.lirpa import linear_bounds
from salver.solvers.marabou.solver import decide
from salver.solvers.query import Budget, Options, Query, Result, Verdict
from salver.solvers.watchdog import is_out_of_memory

Array = npt.NDArray[np.float64]

ROUNDING = 1e-9
"""Outward widening of auto_LiRPA's float64 bounds, relative to what the values are added up from."""


def solve(query: Query, budget: Budget, options: Options) -> Result:
    """Decides one query with `options.threads` workers of Marabou; with one, nothing is divided.

    Raises:
        UnsupportedQueryError: see `Query.program_without_products`.
        SalverError: auto_LiRPA or Marabou is not installed.
    """
    import torch

    torch.set_num_threads(options.threads)
    program = without_abs(query.program_without_products)
    try:
        bounds = published_bounds(program, query.prop.input_lower, query.prop.input_upper, budget)
    except SalverError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return Result(Verdict.UNKNOWN, reason=f"auto_LiRPA failed: {type(error).__name__}: {error}")
    if bounds is None:
        return Result(Verdict.TIMED_OUT)
    return decide(query, program, bounds, budget, options, options.threads)


def published_bounds(program: Program, lower: Array, upper: Array, budget: Budget) -> Bounds | None:
    """CROWN bounds by auto_LiRPA on every variable of a program without `AbsBlock`, met with intervals.

    Args:
        program: pre-activations, gated values and outputs are bounded in topological order.
        lower, upper: the input box [n].
        budget: looked at before each layer.

    Returns:
        None when the budget ended first.

    Raises:
        SalverError: auto_LiRPA is not installed.
    """
    layers = _Layers(program, propagate(program, lower, upper, method="interval"))
    for number in sorted(live_blocks(program)):
        if budget.over:
            return None
        layers.bound_block(number)
    low, high = layers.bound_output()
    met = propagate(program, lower, upper, method="interval", within=layers.bounds)
    return replace(
        met, output_lower=np.maximum(met.output_lower, low), output_upper=np.minimum(met.output_upper, high)
    )


class _Layers:
    """One CROWN pass per layer over the traced program; `bounds` holds what is found so far."""

    def __init__(self, program: Program, intervals: Bounds) -> None:
        self.program, self.bounds = program, intervals
        self.graph = bounded_graph(program, "cpu")
        self.known: dict[str, tuple[Any, Any]] = {}
        self.lower, self.upper = _row(intervals.input_lower), _row(intervals.input_upper)

    def bound_block(self, number: int) -> None:
        """Bounds what a block reads: its pre-activation if it is new, or the gated value."""
        block, bounds, graph = self.program.blocks[number], self.bounds, self.graph
        if isinstance(block, GateBlock):
            sides = bounds.value_lower[number], bounds.value_upper[number]
            low, high = self._crown(graph.value[number], block.value, *sides)
            bounds.value_lower[number], bounds.value_upper[number] = low, high
        elif isinstance(block, ReluBlock | MaskBlock):
            node, pre = graph.pre[block.pre], block.pre
            if node not in self.known:
                sides = bounds.pre_lower[pre], bounds.pre_upper[pre]
                low, high = self._crown(node, self.program.pre[pre].affine, *sides)
                bounds.pre_lower[pre], bounds.pre_upper[pre] = low, high
            if isinstance(block, MaskBlock):
                self.known[graph.mask[number]] = (
                    _row(bounds.pre_lower[pre] > 0),
                    _row(bounds.pre_upper[pre] > 0),
                )

    def bound_output(self) -> tuple[Array, Array]:
        """Bounds of the outputs, [outputs] each."""
        sides = self.bounds.output_lower, self.bounds.output_upper
        return self._crown(self.graph.output, self.program.output, *sides)

    def _crown(self, node: str, affine: Affine, low: Array, high: Array) -> tuple[Array, Array]:
        import torch

        if set(affine.terms) - {-1}:
            module = self.graph.module
            rows = torch.eye(affine.size, dtype=torch.float64)
            found = linear_bounds(module, self.lower, self.upper, node, rows, self.known)
            slack = ROUNDING * affine.magnitude(self.bounds.largest)
            low = np.maximum(low, found[0][0].detach().numpy() - slack)
            high = np.minimum(high, found[1][0].detach().numpy() + slack)
        self.known[node] = _row(low), _row(high)
        return low, high


def _row(values: npt.NDArray[Any]) -> Any:
    """As a float64 tensor [1, size]."""
    import torch

    return torch.as_tensor(values.astype(np.float64))[None]
