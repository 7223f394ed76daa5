"""SquareGrad and VarGrad with fixed draws: squares of piecewise constants, so piecewise constant too.

SquareGrad is the mean of the squared gradients at x + n_j (Hooker et al., "A Benchmark for Interpretability
Methods in Deep Neural Networks", NeurIPS 2019), VarGrad their variance (Adebayo et al., "Local Explanation
Methods for Deep Neural Networks Lack Sensitivity to Parameter Values", ICLR workshop 2018): `smoothgrad_sq`
and `vargrad` of Captum's NoiseTunnel. The draws are those of SmoothGrad.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from salver.core.errors import SalverError
from salver.explain.explanation import CANCELLED, METHODS, Array, Form
from salver.explain.places import Copies, Places
from salver.explain.smoothgrad import OfDraws
from salver.nets.operators import Mul, Sub


class _Squares(OfDraws):
    def graph_name(self, network: str) -> str:
        kind = "-abs" if self.absolute else ""
        return f"{network}-{self.short}-{self.logits_stem}-{self.noise.stem}{kind}"


@METHODS.register
class SquareGrad(_Squares):
    """The mean of the squared gradients at the noise draws."""

    form = Form.PRODUCTS
    paper = "Hooker et al., NeurIPS 2019"
    elsewhere = ("smoothgrad_sq",)
    short: ClassVar[str] = "squaregrad"

    method: Literal["square-grad"] = "square-grad"

    def combined(self, gradients: Array, x: Array) -> Array:
        return np.asarray((gradients**2).mean(axis=0))

    def assembled(self, copies: Copies) -> str:
        squares = [copies.emit(Mul(), part, part) for part in copies.varying]
        return copies.weighted(self.places(copies.size).weights, squares)

    @property
    def name(self) -> str:
        return f"SquareGrad ({self.noise.text})"


@METHODS.register
class VarGrad(_Squares):
    """The variance of the gradients at the noise draws, the sum divided by their number.

    The graph squares differences from the mean, whose sum cancels nothing.
    """

    form = Form.PRODUCTS
    paper = "Adebayo et al., ICLR workshop 2018"
    short: ClassVar[str] = "vargrad"

    method: Literal["var-grad"] = "var-grad"

    def places(self, size: int) -> Places:
        """As SmoothGrad. Raises: SalverError: of one draw, which has no variance."""
        if self.noise.draws < 2:
            raise SalverError("1 has no variance", "noise_draws", "give 2 or more")
        return super().places(size)

    def combined(self, gradients: Array, x: Array) -> Array:
        return np.asarray(gradients.var(axis=0))

    def rounding_of(self, gradients: Array, x: Array) -> Array:
        """By the differences from the mean, which are what may cancel."""
        off = CANCELLED * np.abs(gradients).mean(axis=0)
        return np.asarray((2.0 * np.abs(gradients - gradients.mean(axis=0)) * off + off**2).mean(axis=0))

    def assembled(self, copies: Copies) -> str:
        weights = self.places(copies.size).weights
        mean = copies.weighted(weights)
        apart = [copies.emit(Sub(), part, mean) for part in copies.varying]
        return copies.weighted(weights, [copies.emit(Mul(), part, part) for part in apart])

    @property
    def name(self) -> str:
        return f"VarGrad ({self.noise.text})"
