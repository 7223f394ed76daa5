"""Gradient attacks on the label of a classifier: FGSM and PGD in the max norm, seeded and pure.

FGSM: Goodfellow, Shlens, Szegedy, "Explaining and Harnessing Adversarial Examples" (2015).
PGD: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks" (2018).
"""

from __future__ import annotations

import torch
from torch import nn

from salver.core.errors import SalverError
from salver.zoo.datasets import Dataset

Limits = tuple[float, float] | tuple[torch.Tensor, torch.Tensor]
"""Lowest and highest valid values: numbers, or one of each for every entry [n], [n]."""
PGD_STEPS = 40
PGD_RESTARTS = 5


def limits(dataset: Dataset, dtype: torch.dtype) -> Limits:
    """The ranges of a data set as tensors [n], [n]."""
    low, high = (torch.from_numpy(side).to(dtype) for side in dataset.bounds)
    return low, high


def loss_gradient(module: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """d cross-entropy / dx [N, n] at each row of `x` [N, n] with labels `y` [N]."""
    points = x.detach().requires_grad_()
    loss = nn.functional.cross_entropy(module(points), y, reduction="sum")
    return torch.autograd.grad(loss, points)[0].detach()


def fgsm(module: nn.Module, x: torch.Tensor, y: torch.Tensor, epsilon: float, clip: Limits) -> torch.Tensor:
    """One sign step of length `epsilon` from each row of `x` [N, n], within the data range."""
    return (x + epsilon * loss_gradient(module, x, y).sign()).clamp(*clip)


def pgd(
    module: nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    epsilon: float,
    clip: Limits,
    steps: int,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Sign steps of length 2.5 epsilon / steps from a random start, projected onto box and data range.

    Args:
        x: [N, n], with labels `y` [N].
        generator: of the random start; None takes torch's own.

    Returns:
        Points [N, n] with |x' - x|_inf <= epsilon inside `clip`.
    """
    low, high = (x - epsilon).clamp(*clip), (x + epsilon).clamp(*clip)
    start = torch.rand(x.shape, generator=generator, dtype=x.dtype)
    points = low + (high - low) * start
    for _ in range(steps):
        points = points + 2.5 * epsilon / steps * loss_gradient(module, points, y).sign()
        points = torch.minimum(torch.maximum(points, low), high)
    return points


def attacked_accuracy(module: nn.Module, dataset: Dataset, epsilon: float, seed: int) -> tuple[float, float]:
    """Shares of the test rows that stay right under FGSM, and under FGSM and restarted PGD together.

    The second never exceeds the first, because a row that FGSM breaks counts as broken.

    Raises:
        SalverError: epsilon is negative or not finite.
    """
    if not 0 <= epsilon < float("inf"):
        raise SalverError(f"epsilon {epsilon} is no finite number >= 0", "attack", "give another epsilon")
    x, y = torch.from_numpy(dataset.test_x), torch.from_numpy(dataset.test_y)
    generator, clip = torch.Generator().manual_seed(seed), limits(dataset, x.dtype)

    def right(points: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            outcome: torch.Tensor = module(points).argmax(1) == y
            return outcome

    after_fgsm = right(x) & right(fgsm(module, x, y, epsilon, clip))
    after_pgd = after_fgsm
    for _ in range(PGD_RESTARTS):
        after_pgd = after_pgd & right(pgd(module, x, y, epsilon, clip, PGD_STEPS, generator))
    return float(after_fgsm.double().mean()), float(after_pgd.double().mean())
