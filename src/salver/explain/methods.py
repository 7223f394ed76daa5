"""Any explanation, told apart by its `method`: a new method's file is imported here, and so registered."""

from __future__ import annotations

from typing import Annotated

from salver.explain import (  # noqa: F401 - registers the methods
    cam,
    deconvnet,
    feature_ablation,
    grad_cam,
    gradient,
    guided_backprop,
    kernel_shap,
    lime,
    occlusion,
    rise,
    shapley,
    smoothgrad,
)
from salver.explain.explanation import METHODS, Explanation

AnyExplanation = Annotated[Explanation, METHODS]
