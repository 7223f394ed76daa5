"""A module of PyTorch goes in as it is, with an array or a tensor of the shape that it takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import salver
from salver.core.errors import SalverError
from salver.report.axes import channels_first
from tests.builders.networks import gap_net

X = np.random.default_rng(0).uniform(0, 1, (1, 6, 6)).astype(np.float32)


class Pooled(nn.Module):
    """A convolutional network that is no Sequential, with parts that differ while it is trained."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm = nn.Conv2d(1, 3, 3, 2, 1), nn.BatchNorm2d(3)
        self.drop, self.last = nn.Dropout(0.5), nn.Linear(27, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.drop(torch.relu(self.norm(self.first(x))).flatten(1)))


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(6, 6), (1, 6, 6), (1, 1, 6, 6)])
def test_a_module_with_convolutions_takes_images(shape: tuple[int, ...]) -> None:
    module = Pooled().eval()
    found = salver.check(module, X.reshape(shape), "top-k", k=3, epsilon=0.3, input_range=(0, 1))
    assert found.maps[0].shape == (1, 6, 6)
    x = torch.tensor(X[None], requires_grad=True)
    module(x)[0, found.point.label].backward()
    assert np.allclose(found.maps[0], x.grad.abs().numpy()[0], atol=1e-5)
    assert found.witness is not None
    assert found.witness.shape == (1, 6, 6)
    assert int(module(torch.tensor(found.witness[None]).float()).argmax()) == found.point.label


def test_a_module_is_read_as_in_evaluation_and_left_as_it_was() -> None:
    module = Pooled().train()
    found = salver.check(module, torch.tensor(X[None]), "label-changes", epsilon=1e-4)
    assert module.training
    assert "the module is in training mode: it is read as in evaluation mode" in found.asked.notes


def test_a_closing_softmax_is_left_out_and_said() -> None:
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2), nn.Softmax(1))
    found = salver.check(module, X[0, 0, :3], "top-k", k=1, epsilon=1e-3)
    assert any("Softmax is left out" in note for note in found.asked.notes)


def test_a_module_that_does_not_take_the_point_is_told_so() -> None:
    with pytest.raises(SalverError, match="Pooled: does not take an example of shape"):
        salver.check(Pooled(), np.zeros(30), "top-k", k=3, epsilon=0.1)


def test_a_batch_of_two_is_not_taken_for_one_input() -> None:
    module = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    with pytest.raises(SalverError, match=r"it makes \[1, 2, 2\] of it, not \[1, classes\]"):
        salver.check(module, np.zeros((2, 3)), "top-k", k=1, epsilon=1e-3)


@pytest.mark.slow
def test_images_with_the_channels_last_are_drawn_as_images() -> None:
    """A network over [height, width, channels], as other frameworks keep them."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(48, 6), nn.ReLU(), nn.Linear(6, 3))
    x = np.random.default_rng(1).uniform(0, 1, (4, 4, 3))
    found = salver.check(module, x, "top-k", k=2, epsilon=0.5)
    assert found.entry_name(7 * 3 + 1) == "(1, 3) of channel 1"
    scene = found.plot().scene
    assert np.allclose(channels_first(scene.sides[0].x, scene.input_shape), np.moveaxis(x, 2, 0))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "entries"), [("cam", {}), ("smoothgrad", {"noise_draws": 2, "noise_sigma": 0.1})]
)
def test_maps_of_other_methods_have_their_own_shape(method: str, entries: dict[str, float]) -> None:
    """The module takes flat rows; the image tells how they are drawn."""
    module, x = gap_net(), np.random.default_rng(0).uniform(0, 1, (1, 5, 5))
    found = salver.check(module, x, "top-k", k=3, epsilon=0.3, method=method, **entries)
    explanation = found.asked.posed.map.explanation
    assert explanation is not None
    assert explanation.method == method
    assert found.maps[0].shape == ((5, 5) if method == "cam" else (1, 5, 5))
    expected = explanation.reference(found.asked.subject.network, x.reshape(1, 25).astype(np.float32))
    assert np.allclose(found.maps[0].ravel(), expected[0], atol=1e-5)
    assert len(found.plot().panels) == (6 if found.witness is not None else 2)


@pytest.mark.slow
def test_a_program_of_torch_export_is_a_module_too(tmp_path: Path) -> None:
    module = Pooled().eval()
    torch.export.save(torch.export.export(module, (torch.zeros(1, 1, 6, 6),)), tmp_path / "net.pt2")
    program = torch.export.load(tmp_path / "net.pt2")
    expected = salver.check(module, X, "label-changes", epsilon=1e-4)
    for given in (program, program.module()):
        found = salver.check(given, X, "label-changes", epsilon=1e-4)
        assert np.allclose(found.point.logits, expected.point.logits, atol=1e-5)
        assert not any("training mode" in note for note in found.asked.notes)
    graph = salver.unroll(program, X[None], label=1)
    assert graph.sha256() == salver.unroll(module, X[None], label=1).sha256()
