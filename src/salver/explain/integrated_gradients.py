"""Integrated gradients with a fixed quadrature: gradients along the line from a baseline b to x.

With places a_k in [0, 1] and weights w_k the sum is S(x) = sum_k w_k g(b + a_k (x - b)), and the map is
(x - b) S(x) (Sundararajan et al., "Axiomatic Attribution for Deep Networks", ICML 2017, sec. 3 and 5). S
alone is piecewise constant: the local map in the words of Ancona et al. (ICLR 2018), and Captum's with
`multiply_by_inputs=False`.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from salver.explain.baseline import Baseline, baseline_values, refuse_outside
from salver.explain.explanation import METHODS, Array, Form
from salver.explain.masked_copies import stem_of
from salver.explain.places import MOST_PLACES, Copies, PlacedGradients, Places
from salver.explain.quadrature import Rule, quadrature
from salver.nets.operators import Mul


class _AlongLine(PlacedGradients):
    """What both maps have in common.

    Attributes:
        baseline: b, one number for all entries or one for each.
        steps: how many places, of which an equal one is there once.
        quadrature: the rule.
    """

    baseline: Baseline = Field(default=(0.0,), description="where the line to x begins")
    steps: int = Field(default=50, gt=0, le=MOST_PLACES, description="how many gradients are summed")
    quadrature: Rule = Field(default="gausslegendre", description="where they are, and their weights")

    def places(self, size: int) -> Places:
        """b + a_k (x - b), as a_k x + (1 - a_k) b."""
        alphas, weights = quadrature(self.quadrature, self.steps)
        scales = alphas.astype(np.float32).astype(np.float64)
        return Places.rounded(scales, np.outer(1 - scales, baseline_values(self.baseline, size)), weights)

    def for_data(self, shape: tuple[int, ...], low: Array, high: Array) -> Self:
        """The same. Raises: SalverError: the baseline is outside of the range."""
        refuse_outside(self.baseline, low, high)
        return self

    @property
    def rule(self) -> str:
        """The quadrature in words."""
        return f"{self.steps} steps of {self.quadrature}"

    def graph_name(self, network: str) -> str:
        kind = "-abs" if self.absolute else ""
        rule = f"q{self.steps}-{self.quadrature.replace('_', '-')}{stem_of('b', self.baseline)}"
        return f"{network}-{self.short}-{self.logits_stem}-{rule}{kind}"


@METHODS.register
class LocalIntegratedGradients(_AlongLine):
    """Integrated gradients without the factor x - b."""

    form = Form.MASKS
    paper = "Sundararajan et al., ICML 2017"
    short: ClassVar[str] = "localig"

    method: Literal["local-integrated-gradients"] = "local-integrated-gradients"

    @property
    def name(self) -> str:
        return f"local integrated gradients ({self.rule})"


@METHODS.register
class IntegratedGradients(_AlongLine):
    """Integrated gradients."""

    form = Form.PRODUCTS
    paper = "Sundararajan et al., ICML 2017"
    elsewhere = ("IG", "IntGrad", "path integrated gradients")
    short: ClassVar[str] = "ig"

    method: Literal["integrated-gradients"] = "integrated-gradients"

    def combined(self, gradients: Array, x: Array) -> Array:
        return (x - baseline_values(self.baseline, x.shape[1])) * super().combined(gradients, x)

    def assembled(self, copies: Copies) -> str:
        difference = copies.affine(copies.input, 1.0, -baseline_values(self.baseline, copies.size))
        return copies.emit(Mul(), difference, super().assembled(copies))

    @property
    def name(self) -> str:
        return f"integrated gradients ({self.rule})"
