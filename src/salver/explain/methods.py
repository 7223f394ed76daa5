"""Any explanation, told apart by its `method`: a new method's file is imported here, and so registered."""

from __future__ import annotations

from typing import Annotated

from salver.explain import (  # noqa: F401 - registers the methods
    cam,
    deconvnet,
    expected_gradients,
    feature_ablation,
    grad_cam,
    gradient,
    gradient_x_input,
    guided_backprop,
    hirescam,
    integrated_gradients,
    kernel_shap,
    layercam,
    lime,
    noise_squares,
    occlusion,
    rise,
    shapley,
    smoothgrad,
)
from salver.explain.explanation import METHODS, Explanation

AnyExplanation = Annotated[Explanation, METHODS]
