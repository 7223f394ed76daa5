"""The gradient, its absolute value and SmoothGrad are Captum's Saliency, alone and in its NoiseTunnel."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
import torch

from salver.explain.cam import Cam
from salver.explain.explanation import Explanation
from salver.explain.gradient import Gradient
from salver.explain.smoothgrad import Noise, SmoothGrad
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.runtime import Runtime, with_free_batch
from tests.builders import captum
from tests.builders.explained_networks import INPUTS, KINDS, LABELS, module, network

CLASS = 2


def in_onnx_runtime(kind: str, explanation: Explanation, x: np.ndarray) -> np.ndarray:
    """All rows in one batch."""
    content = to_bytes(with_free_batch(to_model(explanation.of(CLASS).graph(network(kind)))))
    return Runtime(content).rows(x)[:, LABELS:]


def points() -> np.ndarray:
    """Random ones, and whole numbers, which are on kinks and ties of these networks."""
    rng = np.random.default_rng(0)
    drawn = [rng.uniform(-1, 1, (6, INPUTS)), rng.integers(-1, 2, (6, INPUTS)), np.zeros((1, INPUTS))]
    return np.concatenate(drawn).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("absolute", [False, True])
def test_the_gradient_is_saliency(kind: str, absolute: bool) -> None:
    x = points()
    given = torch.tensor(x, requires_grad=True)
    expected = captum.Saliency(module(kind)).attribute(given, target=CLASS, abs=absolute).detach().numpy()
    found = in_onnx_runtime(kind, Gradient(absolute=absolute), x)
    assert expected.any()
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("kind", KINDS)
def test_smoothgrad_is_saliency_in_a_noise_tunnel_with_the_same_draws(kind: str) -> None:
    noise, x = Noise(draws=4, sigma=0.3, seed=1), points()[:6]
    draws = torch.tensor(noise.values(INPUTS), dtype=torch.float32)
    tunnel, expected = captum.NoiseTunnel(captum.Saliency(module(kind))), []
    for row in torch.tensor(x, requires_grad=True):
        with mock.patch("torch.normal", return_value=draws):
            found = tunnel.attribute(row[None], nt_samples=4, stdevs=0.3, target=CLASS, abs=False)
        expected.append(found[0].detach().numpy())
    values = in_onnx_runtime(kind, SmoothGrad(noise=noise), x)
    assert np.abs(values - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("absolute", [False, True])
def test_a_class_activation_map_is_grad_cam_times_the_number_of_pixels(absolute: bool) -> None:
    x, pixels = points(), 4
    given = torch.tensor(x, requires_grad=True)
    found = captum.LayerGradCam(module("pooled"), module("pooled")[6]).attribute(given, target=CLASS)
    expected = pixels * found.detach().numpy().reshape(len(x), pixels)
    expected = np.abs(expected) if absolute else expected
    values = in_onnx_runtime("pooled", Cam(absolute=absolute), x)
    assert expected.any()
    assert np.abs(values - expected).max() <= 1e-5 * np.abs(expected).max()
