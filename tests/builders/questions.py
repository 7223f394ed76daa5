"""Maps and questions of every kind; each question with its meaning in numpy, apart from its clauses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from salver.explain.cam import Cam
from salver.explain.deconvnet import Deconvnet
from salver.explain.expected_gradients import ExpectedGradients, LocalExpectedGradients, References
from salver.explain.explanation import Explanation
from salver.explain.feature_ablation import FeatureAblation
from salver.explain.grad_cam import GradCam
from salver.explain.gradient import Gradient
from salver.explain.gradient_x_input import GradientXInput
from salver.explain.guided_backprop import GuidedBackprop
from salver.explain.hirescam import HiResCam
from salver.explain.integrated_gradients import IntegratedGradients, LocalIntegratedGradients
from salver.explain.kernel_shap import KernelShap
from salver.explain.layercam import LayerCam
from salver.explain.lime import Lime
from salver.explain.masked_copies import Draws
from salver.explain.noise_squares import SquareGrad, VarGrad
from salver.explain.occlusion import Occlusion
from salver.explain.rise import RandomMasks, Rise
from salver.explain.shapley import ShapleyValues
from salver.explain.smoothgrad import Noise, SmoothGrad
from salver.families.other_class import SameMap, SameSigns, SameTopK
from salver.families.question import Question
from salver.families.questions import EntryMoves, LabelChanges, SignChanges, TopKChanges

NOISE = Noise(draws=2, sigma=0.2)
REFERENCES = References(baselines=((0.0,), (0.5,)), draws=3, sigma=0.1)
MAPS: list[Explanation] = [
    Gradient(),
    Gradient(absolute=True),
    SmoothGrad(noise=NOISE),
    Cam(),
    Cam(absolute=True),
    GradCam(),
    GradCam(layer=1),
    HiResCam(),
    HiResCam(layer=0),
    LayerCam(),
    LayerCam(layer=1, rectified=True),
    GuidedBackprop(),
    Deconvnet(),
    LocalIntegratedGradients(steps=3, baseline=(0.25,)),
    IntegratedGradients(steps=3, quadrature="riemann_trapezoid", baseline=(0.25,)),
    GradientXInput(),
    LocalExpectedGradients(references=REFERENCES),
    ExpectedGradients(references=REFERENCES),
    SquareGrad(noise=NOISE),
    VarGrad(noise=NOISE),
    Occlusion(window=2, stride=1, baseline=(0.25,)),
    Occlusion(window=2, absolute=True, grouped=False, baseline=(-0.5,)),
    FeatureAblation(baseline=(0.25,)),
    Rise(masks=RandomMasks(count=12, cells=2), baseline=(0.25,)),
    ShapleyValues(groups=(0, 0, 1, 1, 2, 2, 3, 3, 4), baseline=(0.25,)),
    KernelShap(groups=(0, 0, 1, 1, 2, 2, 3, 3, 4), draws=Draws(count=12), baseline=(0.25,)),
    Lime(draws=Draws(count=20)),
]
KINDS_OF_BLOCKS = [
    one
    for one in MAPS
    if one.method in ("gradient", "cam", "integrated-gradients", "guided-backprop", "occlusion")
]
"""Maps whose programs have every kind of block together, each absolute and signed where that adds one."""
Array = np.ndarray
Broken = Callable[[Array, Array, Array, int], Array]
"""Whether it holds [batch]: from logits [batch, m], maps [batch, s], the map at xhat [s] and its label."""


def same(logits: Array, label: int) -> Array:
    return logits.max(axis=1) == logits[:, label]


def other(logits: Array, label: int) -> Array:
    return np.delete(logits, label, axis=1).max(axis=1) >= logits[:, label]


def gone(maps: Array, reference: Array, k: int) -> Array:
    """Per member of the top-k set at xhat the entries outside it that are at or above it [batch, k]."""
    order = np.argsort(-reference)
    inside, outside = order[:k], order[k:]
    return (maps[:, None, outside] >= maps[:, inside, None]).sum(axis=2)


def same_set(maps: Array, reference: Array, k: int) -> Array:
    """Whether every member of the top-k set at xhat is at or above every other entry [batch]."""
    order = np.argsort(-reference)
    return maps[:, order[:k]].min(axis=1) >= maps[:, order[k:]].max(axis=1)


CASES: list[tuple[Question, Broken]] = [
    (SameMap(delta=0.2), lambda z, e, r, c: (np.abs(e - r).max(axis=1) <= 0.2) & other(z, c)),
    (SameSigns(), lambda z, e, r, c: ((e * np.sign(r))[:, r != 0] >= 0).all(axis=1) & other(z, c)),
    (SameTopK(k=2), lambda z, e, r, c: same_set(e, r, 2) & other(z, c)),
    (TopKChanges(k=2), lambda z, e, r, c: (gone(e, r, 2) >= 1).any(axis=1) & same(z, c)),
    (TopKChanges(k=2, same_label=False), lambda z, e, r, c: (gone(e, r, 2) >= 1).any(axis=1)),
    (TopKChanges(k=2, stay=1), lambda z, e, r, c: ((gone(e, r, 2) >= 2).sum(axis=1) >= 2) & same(z, c)),
    (TopKChanges(k=2, within=4), lambda z, e, r, c: (gone(e, r, 2) >= 3).any(axis=1) & same(z, c)),
    (SignChanges(entry=3, level=0.05), lambda z, e, r, c: np.where(r[3] > 0, 1, -1) * e[:, 3] <= 0.05),
    (EntryMoves(delta=0.3), lambda z, e, r, c: np.abs(e - r).max(axis=1) >= 0.3),
    (LabelChanges(), lambda z, e, r, c: other(z, c)),
]
