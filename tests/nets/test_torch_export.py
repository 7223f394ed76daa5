"""A PyTorch module goes in directly: values and gradient are those of the module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import salver
from salver.core.errors import SalverError
from salver.explain.checked import classifier_of
from salver.nets.network import evaluate
from salver.nets.torch_export import read_module

RNG = np.random.default_rng(0)


class Residual(nn.Module):
    """Convolutions with batch normalisation, a residual connection and a pool, in functional style."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.norm, self.head = nn.BatchNorm2d(3), nn.Linear(12, 4)
        self.norm.running_mean.normal_()
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.first(x))
        y = functional.relu(y + self.norm(self.second(y)))
        return self.head(functional.avg_pool2d(y, 2).view(y.size(0), -1))


class Bent(nn.Module):
    """Functions that bend, of several kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 2, 3), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.max_pool2d(functional.leaky_relu(self.conv(x), 0.1), 2, 1, 1)[:, :, ::2, ::2]
        y = torch.cat([functional.relu6(y), y.clamp(min=-0.5)], 1).abs().mean((2, 3))
        y = torch.cat([y, torch.maximum(y, y.flip(1))], 1)
        return self.head(torch.where(y > 0.2, y, 0.1 * y))


class Choosing(nn.Module):
    """An `if` on values, which one run does not tell."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 if x.sum() > 0 else x


class Straight(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(x)

    @staticmethod
    def backward(context: Any, slope: torch.Tensor) -> torch.Tensor:
        return slope


class StraightThrough(nn.Module):
    """A ReLU whose backward pass is not its derivative."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(Straight.apply(self.first(x)))


MODULES: dict[str, tuple[nn.Module, tuple[int, ...]]] = {}
torch.manual_seed(0)
MODULES["mlp"] = (nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)), (1, 5))
MODULES["residual"] = (Residual(), (1, 2, 4, 4))
MODULES["softmax"] = (
    nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3), nn.Softmax(1)),
    (1, 2, 3),
)
MODULES["bent"] = (Bent(), (1, 1, 5, 5))
MODULES["double"] = (nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double(), (1, 3))


@pytest.mark.parametrize("name", ["mlp", "residual", "bent", "double"])
def test_values_and_gradient_are_the_modules(name: str) -> None:
    module, shape = MODULES[name]
    module.eval()
    graph = salver.unroll(module, np.zeros(shape), label=1, minus=0)
    kind = next(module.parameters()).dtype
    for _ in range(5):
        x = torch.tensor(RNG.normal(size=shape), dtype=kind, requires_grad=True)
        logits = module(x)
        (logits[0, 1] - logits[0, 0]).backward()
        expected = np.concatenate([logits.detach().numpy().ravel(), x.grad.numpy().ravel()])
        assert np.allclose(evaluate(graph, x.detach().numpy().reshape(1, -1))[0], expected, atol=1e-5)


def test_a_closing_softmax_and_training_mode_are_said() -> None:
    module, shape = MODULES["softmax"]
    module.train()
    with (
        pytest.warns(UserWarning, match="training mode"),
        pytest.warns(UserWarning, match="the closing Softmax"),
    ):
        graph = salver.unroll(module, np.zeros(shape), label=0)
    assert module.training
    x = RNG.normal(size=(1, 6)).astype(np.float32)
    logits = module[:-1](torch.from_numpy(x.reshape(shape))).detach().numpy()
    assert np.allclose(evaluate(graph, x)[:, :3], logits, atol=1e-5)


def test_an_example_may_come_without_the_axis_of_one() -> None:
    module, shape = MODULES["residual"]
    module.eval()
    first, second = (
        read_module(module, example).network for example in (np.zeros(shape), np.zeros(shape[1:]))
    )
    assert first.sha256() == second.sha256()


@pytest.mark.parametrize(
    ("source", "example", "told"),
    [
        (MODULES["mlp"][0], None, "Sequential: a module is read with an example"),
        (MODULES["mlp"][0], np.zeros((1, 7)), r"does not take an example of shape \[1, 7\]"),
        (MODULES["mlp"][0], "text", "the example is no tensor of numbers"),
        (len, np.zeros((1, 7)), "neither a path nor a torch.nn.Module"),
        (nn.LSTM(3, 2).eval(), np.zeros((1, 3)), "LSTM: gives a tuple and not one tensor"),
        (
            StraightThrough().eval(),
            np.zeros((1, 3)),
            "has a gradient in PyTorch that is not that of the function",
        ),
    ],
)
def test_what_cannot_be_read_is_said(source: Any, example: Any, told: str) -> None:
    with pytest.raises(SalverError, match=told):
        salver.unroll(source, example, label=0)


@pytest.mark.parametrize(
    ("dynamo", "rows"),
    [(False, 1), (False, 4), (False, "open"), pytest.param(True, 4, marks=pytest.mark.slow)],
)
@pytest.mark.filterwarnings("ignore")
def test_files_of_both_exporters_are_read_with_any_batch(dynamo: bool, rows: Any, tmp_path: Path) -> None:
    """With its defaults the newer one writes the weights beside the file, and reshapes with allowzero."""
    module, shape = MODULES["residual"]
    module.eval()
    given = torch.zeros(rows if rows != "open" else 2, *shape[1:])
    names = {"input_names": ["x"], "output_names": ["y"]}
    if rows == "open":
        names["dynamic_axes"] = {"x": {0: "rows"}, "y": {0: "rows"}}
    torch.onnx.export(module, (given,), tmp_path / "net.onnx", dynamo=dynamo, verbose=False, **names)
    assert (tmp_path / "net.onnx.data").exists() == dynamo
    network = classifier_of(tmp_path / "net.onnx").network
    x = RNG.normal(size=(5, 32)).astype(np.float32)
    expected = module(torch.from_numpy(x.reshape(5, *shape[1:]))).detach().numpy()
    assert np.allclose(evaluate(network, x), expected, atol=1e-5)


class Stretched(nn.Module):
    """Python code that one run warns of, though it always does the same."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(x) * len(x)


@pytest.mark.slow
def test_what_a_run_does_not_tell_is_followed() -> None:
    graph = salver.unroll(Stretched().eval(), np.zeros((1, 3)), label=0)
    assert evaluate(graph, [2.0, -1.0, 3.0]).tolist() == [[2, 0, 3, 1, 0, 0]]


@pytest.mark.slow
def test_a_choice_that_depends_on_the_input_is_refused() -> None:
    with pytest.raises(SalverError, match="cannot follow it"):
        salver.unroll(Choosing().eval(), np.zeros((1, 3)), label=0)
