"""Certificates over a box that the top-k pixels of a class activation map stay, by bounds of three kinds.

- `channels`: CORGI (Gu, Weng, Chen, Liu and Daniel, 2020): linear bounds (CNN-Cert) of each entry of the last
  activations, summed up per pixel with the class's weights; the least lower bound in the set must exceed
  the greatest upper bound outside. Ours intersects them with intervals, so it is at least as tight.
- `pixels`: the same test on linear bounds of each pixel itself, so that channels share one perturbation.
- `differences`: a pair that the pixels' bounds leave open is settled by bounds of CAM_i - CAM_j, which
  also share what both pixels read. Two pixels whose receptive fields do not meet gain nothing by that.

The class is fixed: neither CORGI's certificate nor these need the label to be kept.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from experiments.cam_radii.image_bounds import Box, ConvBounder, Ranges
from experiments.cam_radii.slopes import improved
from salver.explain.cam import Cam
from salver.explain.ranking import top_k
from salver.nets.network import Network
from salver.nets.operators import Conv

Array = npt.NDArray[np.float64]
Tensor = torch.Tensor
Method = Literal["channels", "pixels", "differences"]
_AT_ONCE = 32


class CamBounds:
    """Bounds of CAM_label of one classifier.

    Raises:
        SalverError: the ending is not ReLU - global average pooling - dense, there is no such class, or
            the network before it is not convolutional.
    """

    def __init__(self, classifier: Network, label: int) -> None:
        self.label, self.logits = label, classifier.output_size
        self.graph = Cam(logit=label).graph(classifier)
        made_by = {node.name: node for node in self.graph.nodes}
        flat = made_by[made_by[self.graph.output].inputs[1]]
        image = made_by[flat.inputs[0]]
        self.image, operator = image.name, image.operator
        self.bounder = ConvBounder(self.graph, self.image)
        self.activations = made_by[image.inputs[0]]
        assert isinstance(operator, Conv)
        self.weights = torch.tensor(operator.weight[0, :, 0, 0], dtype=torch.float64)
        self.height, self.width = image.shape[1:]

    @property
    def pixels(self) -> int:
        """Size of the map."""
        return int(self.height * self.width)

    def map(self, x: Array) -> Array:
        """CAM [pixels] at one input [n]."""
        point = torch.as_tensor(x, dtype=torch.float64)
        low, high = self.bounder.ranges(Box(point, point), crown=False).values[self.image]
        return np.asarray(((low + high) / 2).reshape(-1).numpy())

    def top(self, x: Array, k: int) -> npt.NDArray[np.intp]:
        """Raises: SalverError, UndefinedConditionError: see `top_k`."""
        return top_k(self.map(x), k)

    def over(self, lower: Array, upper: Array, within: Ranges | None = None) -> Ranges:
        """Bounds of every activation over a box [n], [n]; see `ConvBounder.ranges`."""
        return self.bounder.ranges(Box(torch.as_tensor(lower), torch.as_tensor(upper)), within)

    def pixel_bounds(self, found: Ranges, pixels: Tensor, method: Method) -> tuple[Tensor, Tensor]:
        """Lower and upper bounds of CAM at some pixels [m], flat indices."""
        at = self._positions(pixels)
        low, high = (part.reshape(-1)[pixels] for part in found.values[self.image])
        if method == "channels":
            least, most = self._summed(found, at)
        else:
            least, most = self.bounder.tightened(
                found, self.image, torch.cat([torch.zeros_like(at[:, :1]), at], 1)
            )
        return torch.maximum(low, least), torch.minimum(high, most)

    def difference_bounds(self, found: Ranges, first: Tensor, second: Tensor, steps: int = 0) -> Tensor:
        """Lower bounds [pairs] of CAM[first] - CAM[second].

        Args:
            steps: of ascent on the lower slopes, for pairs that are not positive without.
        """
        a, b = self._positions(first), self._positions(second)
        sizes = (a - b).abs().amax(1) + 1
        least = torch.empty(len(first), dtype=torch.float64)
        for size in sorted(set(sizes.tolist())):
            mine = (sizes == size).nonzero()[:, 0]
            start = torch.minimum(torch.minimum(a[mine], b[mine]), self._room(size))
            rows = torch.zeros(1, len(mine), size, size, dtype=torch.float64)
            number = torch.arange(len(mine))
            for points, sign in ((a[mine], 1.0), (b[mine], -1.0)):
                place = points - start
                rows[0, number, place[:, 0], place[:, 1]] += sign
            least[mine] = self.bounder.lower(found, self.image, rows, start)
            weak = (least[mine] <= 0).nonzero()[:, 0]
            if steps and len(weak):
                better = improved(self.bounder, found, self.image, rows[:, weak], start[weak], steps)
                least[mine[weak]] = torch.maximum(least[mine[weak]], better)
        return least

    def certified(self, found: Ranges, inside: npt.NDArray[np.intp], method: Method, steps: int = 0) -> bool:
        """Whether CAM_i > CAM_j over the box for every i in the set and j outside it.

        Args:
            inside: the set, flat indices.
            steps: see `difference_bounds`.
        """
        top = torch.as_tensor(inside)
        rest = np.setdiff1d(np.arange(self.pixels), inside)
        kind: Method = "channels" if method == "channels" else "pixels"
        least = self.pixel_bounds(found, top, kind)[0]
        most = found.values[self.image][1].reshape(-1).clone()
        low, high = found.values[self.image]
        order = np.argsort(-(low + high).reshape(-1).numpy()[rest], kind="stable")
        others = torch.as_tensor(rest[order])
        open_ = others[most[others] >= least.min()]
        for part in torch.split(open_, _AT_ONCE):
            most[part] = self.pixel_bounds(found, part, kind)[1]
            pairs = (least[:, None] <= most[part][None]).nonzero()
            if not len(pairs):
                continue
            if method != "differences":
                return False
            first, second = top[pairs[:, 0]], part[pairs[:, 1]]
            if self._apart(first, second).any():
                return False
            if not (self.difference_bounds(found, first, second, steps) > 0).all():
                return False
        return True

    def _apart(self, first: Tensor, second: Tensor) -> Tensor:
        """Pairs that read no common entry of the input."""
        window = self.bounder.below(self.image, (1, 1))[self.bounder.image]
        far = [
            (first // self.width - second // self.width).abs() * window.stride[0] >= window.size[0],
            (first % self.width - second % self.width).abs() * window.stride[1] >= window.size[1],
        ]
        return far[0] | far[1]

    def _summed(self, found: Ranges, at: Tensor) -> tuple[Tensor, Tensor]:
        """Interval sums over the channels of linear bounds of the last activations."""
        channels = len(self.weights)
        entries = torch.cat(
            [torch.arange(channels).repeat(len(at))[:, None], at.repeat_interleave(channels, 0)], 1
        )
        low, high = self.bounder.tightened(found, self.activations.inputs[0], entries)
        low, high = (part.clamp(min=0).reshape(len(at), channels) for part in (low, high))
        positive, negative = self.weights.clamp(min=0), self.weights.clamp(max=0)
        slack = 1e-14 * channels * (high @ self.weights.abs()) + 1e-300
        return low @ positive + high @ negative - slack, high @ positive + low @ negative + slack

    def _positions(self, pixels: Tensor) -> Tensor:
        return torch.stack([pixels // self.width, pixels % self.width], 1)

    def _room(self, size: int) -> Tensor:
        return torch.tensor([self.height - size, self.width - size])
