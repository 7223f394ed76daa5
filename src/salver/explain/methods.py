"""Any explanation, told apart by its `method`: a new method's file is imported here, and so registered."""

from __future__ import annotations

from typing import Annotated

from salver.explain import (  # noqa: F401 - registers the methods
    cam,
    deconvnet,
    grad_cam,
    gradient,
    guided_backprop,
    smoothgrad,
)
from salver.explain.explanation import METHODS, Explanation

AnyExplanation = Annotated[Explanation, METHODS]
