"""Attacks on the top-k set of a class activation map by signed gradients, and the least radius they find.

`published` is the attack Gu et al. (CORGI, 2020) compare with: descend the sum of the set's pixels, 100 steps
of epsilon / 30 from the image, within the data range; a success keeps the label and changes the set.
`pairs` descends the gap between the lowest pixel of the set and the highest outside it, smoothed over the
nearest few of each, from the image and from random corners; it is the stronger one of the two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from experiments.cam_radii.bounds import CamBounds
from salver.nets.torch_bridge import to_torch

Array = npt.NDArray[np.float64]
Tensor = torch.Tensor
_NEAREST = 4


@dataclass(frozen=True)
class Effort:
    """How hard the attack by pairs tries.

    Attributes:
        starts: the image, then random corners of the box.
        steps: gradient steps of each start.
        halvings: steps of the bisection.
    """

    starts: int = 3
    steps: int = 40
    halvings: int = 10


class CamAttack:
    """Attacks on one image.

    Args:
        bounds: with the graph X [n] -> Concat[logits, CAM_label [pixels]].
        x: the image [n] in the data range.
        inside: the top-k set at x.
        clip: the data range.
    """

    def __init__(
        self,
        bounds: CamBounds,
        x: Array,
        inside: npt.NDArray[np.intp],
        clip: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        self.run = to_torch(bounds.graph, torch.float64)
        self.logits, self.label, self.clip = bounds.logits, bounds.label, clip
        self.x = torch.as_tensor(x, dtype=torch.float64)
        rest = np.setdiff1d(np.arange(bounds.pixels), inside)
        self.inside, self.outside = torch.as_tensor(inside), torch.as_tensor(rest)

    def succeeded(self, outputs: Tensor) -> Tensor:
        """Which rows keep the label and have a pixel outside the set at or above one inside it."""
        logits, cam = outputs[:, : self.logits], outputs[:, self.logits :]
        kept = logits[:, self.label] >= logits.amax(1)
        return kept & (cam[:, self.outside].amax(1) >= cam[:, self.inside].amin(1))

    def published(self, epsilon: float) -> Array | None:
        """The violation that the published attack finds [n], or None."""
        return self._descend(self.x[None], epsilon, 100, epsilon / 30, self._sum)

    def pairs(self, epsilon: float, effort: Effort, seed: int) -> Array | None:
        """The violation that the attack by pairs finds [n], or None."""
        corners = np.random.default_rng(seed).choice([-1.0, 1.0], (effort.starts, len(self.x)))
        corners[0] = 0.0
        starts = self._project(self.x + epsilon * torch.as_tensor(corners), epsilon)
        return self._descend(starts, epsilon, effort.steps, epsilon / 6, self._gap)

    def _sum(self, outputs: Tensor) -> Tensor:
        return outputs[:, self.logits :][:, self.inside].sum(1)

    def _gap(self, outputs: Tensor) -> Tensor:
        """The label's lead counts where it is lost, so that the descent comes back."""
        logits, cam = outputs[:, : self.logits], outputs[:, self.logits :]
        lowest = -(-cam[:, self.inside]).topk(min(_NEAREST, len(self.inside)), 1).values
        highest = cam[:, self.outside].topk(min(_NEAREST, len(self.outside)), 1).values
        gaps = (lowest[:, :, None] - highest[:, None, :]).flatten(1)
        scale = gaps.detach().abs().mean(1, keepdim=True).clamp(min=1e-12)
        near = (torch.softmax(-4 * gaps.detach() / scale, 1) * gaps).sum(1)
        lead = logits[:, self.label] - logits.amax(1)
        return near + torch.where(lead < 0, -10 * lead, 0.0)

    def _descend(
        self, starts: Tensor, epsilon: float, steps: int, rate: float, loss: Callable[[Tensor], Tensor]
    ) -> Array | None:
        points = starts.clone()
        for step in range(steps + 1):
            points = points.detach().requires_grad_()
            outputs = self.run(points)
            won = self.succeeded(outputs)
            if bool(won.any()):
                return np.asarray(points[int(won.nonzero()[0, 0])].detach().numpy())
            if step == steps:
                return None
            (slope,) = torch.autograd.grad(loss(outputs).sum(), points)
            points = self._project(points.detach() - rate * slope.sign(), epsilon)
        return None

    def _project(self, points: Tensor, epsilon: float) -> Tensor:
        low, high = (self.x - epsilon).clamp(min=self.clip[0]), (self.x + epsilon).clamp(max=self.clip[1])
        return torch.maximum(torch.minimum(points, high), low)


def attack_radius(found: Callable[[float], Array | None], most: float, halvings: int) -> float:
    """Least radius at which an attack succeeds, by bisection from above; inf where it fails at `most`."""
    if found(most) is None:
        return float("inf")
    low, high = 0.0, most
    for _ in range(halvings):
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) is not None else (middle, high)
    return high
