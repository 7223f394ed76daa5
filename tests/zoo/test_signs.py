"""Equalised images: hue stays, brightness becomes its rank, nothing leaves [0, 1]."""

from __future__ import annotations

import numpy as np

from salver.zoo.datasets.signs import equalized

SHAPE = (3, 8, 8)


def test_brightness_becomes_its_share_and_hue_stays() -> None:
    rng = np.random.default_rng(0)
    dark = (rng.random((1, *SHAPE)) ** 3 * 0.2).astype(np.float32)
    before, after = dark.reshape(SHAPE), equalized(dark.reshape(1, -1), SHAPE).reshape(SHAPE)
    value, made = before.max(0).ravel(), after.max(0).ravel()
    share = (value[:, None] >= value[None]).mean(1)
    np.testing.assert_allclose(made, share, atol=0.05)
    assert (np.diff(made[np.argsort(value)]) >= -1e-6).all()
    ratio = before / before.max(0)
    np.testing.assert_allclose(after / after.max(0), ratio, atol=1e-5)


def test_black_and_constant_images_stay_in_range() -> None:
    rows = np.stack([np.zeros(SHAPE), np.ones(SHAPE), np.full(SHAPE, 0.3)]).reshape(3, -1).astype(np.float32)
    made = equalized(rows, SHAPE)
    assert made.dtype == np.float32
    assert np.isfinite(made).all()
    assert made.min() >= 0
    assert made.max() <= 1
    assert all(len(np.unique(row)) == 1 for row in made)
