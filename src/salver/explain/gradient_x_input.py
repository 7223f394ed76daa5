"""Gradient x input: every entry of the gradient times the entry of x (Shrikumar et al., 2016).

On a network of ReLUs it is LRP-0 too, whose quotients cancel where biases count in the denominators, as in
Captum's `LRP` (Ancona et al., ICLR 2018, proposition 1).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from salver.explain.explanation import METHODS, Array, Form
from salver.explain.places import Copies, PlacedGradients, Places
from salver.nets.operators import Mul


@METHODS.register
class GradientXInput(PlacedGradients):
    """E = x dz / dx."""

    form = Form.PRODUCTS
    paper = "Shrikumar et al., 2016"
    elsewhere = ("InputXGradient", "gradient * input", "gradient times input", "GxI", "IxG")
    name: ClassVar[str] = "gradient x input"
    short: ClassVar[str] = "gxi"

    method: Literal["gradient-x-input"] = "gradient-x-input"

    def places(self, size: int) -> Places:
        """x itself."""
        return Places(np.ones(1), np.zeros((1, size)), np.ones(1))

    def combined(self, gradients: Array, x: Array) -> Array:
        return x * super().combined(gradients, x)

    def assembled(self, copies: Copies) -> str:
        return copies.emit(Mul(), copies.input, super().assembled(copies))

    @property
    def kinks_at_relus(self) -> bool:
        return True
