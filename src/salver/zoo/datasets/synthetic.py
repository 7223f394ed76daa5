"""The synthetic bandit set of Le, Gurfinkel, Si and Geng, "Towards Robust Saliency Maps", ACML 2024."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from salver.zoo.datasets.record import Dataset, Origin, data_set

REWARDS = (100.0, 100.0, 300.0, 100.0, 300.0)
THRESHOLD = 300.0
REFERENCE_INPUT = (1.0, 1.0, 0.0, 1.0, 1.0)
TRAIN_ROWS, TEST_ROWS = 4000, 1000
SEED = 2024


def bandit_labels(x: NDArray[np.float32]) -> NDArray[np.int64]:
    """1 ("high") where the sum of x * rewards exceeds 300, else 0; x has shape (N, 5)."""
    total: NDArray[np.float64] = x.astype(np.float64) @ np.array(REWARDS)
    return (total > THRESHOLD).astype(np.int64)


@data_set(
    "bandit",
    Origin(
        "Bandit",
        "synthetic, after Le, Gurfinkel, Si and Geng (ACML 2024); drawn by salver",
        "",
        "BSD-3-Clause",
    ),
)
def bandit() -> Dataset:
    """Points of [0,1]^5, half of them vertices of the cube (an arm is pulled or not), half uniform.

    Test row 0 is the paper's reference input (1, 1, 0, 1, 1).
    """
    generator = np.random.default_rng(SEED)
    x = generator.random((TRAIN_ROWS + TEST_ROWS, len(REWARDS))).astype(np.float32)
    x[::2] = np.round(x[::2])
    train_x, test_x = x[:TRAIN_ROWS], x[TRAIN_ROWS:]
    test_x[0] = REFERENCE_INPUT
    return Dataset(
        "bandit", train_x, bandit_labels(train_x), test_x, bandit_labels(test_x), (5,), ("low", "high")
    )
