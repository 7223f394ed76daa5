"""Training that gives the same weights on every machine, as far as floating-point arithmetic allows.

Two steps make it so: it runs on one thread in float64, and the weights are rounded at the end to
multiples of 2^-12. Machines that sum in another order differ by far less than that step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from torch import nn

from salver.core.errors import SalverError
from salver.zoo.datasets import Dataset
from salver.zoo.objectives import objective
from salver.zoo.regimes import Plain, Regime

PLAIN = Plain()
WEIGHT_STEP = 2.0**-12


class Schedule(Protocol):
    """What training needs to know: passes over the data, rows in a batch, Adam's rate and weight decay."""

    @property
    def epochs(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...


@contextmanager
def isolated_torch(seed: int) -> Iterator[None]:
    """One thread, deterministic algorithms, float64 and a seeded generator; all put back on leaving."""
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    deterministic = torch.get_deterministic_debug_mode()
    with torch.random.fork_rng(devices=[]):
        try:
            torch.set_num_threads(1)
            torch.set_default_dtype(torch.float64)
            # Says the same as `use_deterministic_algorithms`, which loads torch's compiler: two seconds.
            torch.set_deterministic_debug_mode("error")
            torch.manual_seed(seed)
            yield
        finally:
            torch.set_num_threads(threads)
            torch.set_default_dtype(dtype)
            torch.set_deterministic_debug_mode(deterministic)


def train(
    module: nn.Sequential, dataset: Dataset, schedule: Schedule, seed: int, regime: Regime = PLAIN
) -> nn.Sequential:
    """Minimises the regime's loss with Adam, the rate falling linearly to zero; call inside `isolated_torch`.

    Args:
        module: float64, from inputs of shape (N, n) to logits; trained in place.
        dataset: its training part is used.
        schedule: epochs, batch size, learning rate, weight decay.
        seed: of the order of the rows.
        regime: what is minimised; random draws in it come from torch's generator.

    Returns:
        The module in float32 and evaluation mode, each weight a multiple of 2^-12.

    Raises:
        SalverError: the loss is no longer finite, or the regime does not fit the data set.
    """
    x, y = torch.from_numpy(dataset.train_x), torch.from_numpy(dataset.train_y)
    order = np.random.default_rng(seed)
    loss_of = objective(regime, dataset)
    optimizer = torch.optim.Adam(
        module.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay
    )
    batches = -(-len(x) // schedule.batch_size)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=schedule.epochs * batches)
    loss = torch.zeros(())
    for _ in range(schedule.epochs):
        rows = torch.from_numpy(order.permutation(len(x)))
        for start in range(0, len(rows), schedule.batch_size):
            batch = rows[start : start + schedule.batch_size]
            optimizer.zero_grad()
            loss = loss_of(module, x[batch].double(), y[batch])
            torch.autograd.backward(loss)
            optimizer.step()
            decay.step()
    if not bool(torch.isfinite(loss)):
        raise SalverError("training diverged", f"data set {dataset.name}", "lower the learning rate")
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.round(parameter / WEIGHT_STEP) * WEIGHT_STEP)
    return module.float().eval()


def accuracy(module: nn.Module, dataset: Dataset) -> float:
    """Share of the test rows whose largest logit is the label."""
    with torch.no_grad():
        predicted = module(torch.from_numpy(dataset.test_x)).argmax(1).numpy()
    return float((predicted == dataset.test_y).mean())
