"""The gradient network against torch.autograd, on random architectures and on inputs with exact zeros."""

from __future__ import annotations

import itertools
import re

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from salver.core.errors import SalverError
from salver.explain.checked import unrolled
from salver.explain.gradient import Gradient
from salver.explain.unroll import logit_combination, unroll
from salver.nets.network import Network, evaluate
from salver.nets.onnx.reader import from_model
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.operators import Linear, Node, Relu
from salver.nets.torch_bridge import from_torch, to_torch


def run_onnx(network: Network, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(to_bytes(to_model(network)), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(["Y"], {"X": row[None].astype(np.float32)})[0] for row in x])


def autograd(module: nn.Module, x: np.ndarray, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    points = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    logits = module.double()(points)
    (logits @ torch.tensor(coefficients)).sum().backward()
    module.float()
    assert points.grad is not None
    return logits.detach().numpy(), points.grad.numpy()


def mlp(draw: st.DrawFn) -> tuple[nn.Module, int]:
    sizes = draw(st.lists(st.integers(1, 7), min_size=3, max_size=5))
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes[:-1]):
        layers += [nn.Linear(a, b, bias=draw(st.booleans())), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], 3)), sizes[0]


def conv_net(draw: st.DrawFn) -> tuple[nn.Module, int]:
    channels, size = draw(st.integers(1, 2)), draw(st.integers(5, 8))
    stride, pad, kernel = draw(st.integers(1, 3)), draw(st.integers(0, 1)), draw(st.integers(2, 3))
    layers: list[nn.Module] = [
        nn.Unflatten(1, (channels, size, size)),
        nn.Conv2d(channels, 3, kernel, stride=stride, padding=pad),
    ]
    if draw(st.booleans()):
        norm = nn.BatchNorm2d(3)
        norm.running_mean = torch.randn(3)
        norm.running_var = torch.rand(3) + 0.5
        layers.append(norm)
    layers.append(nn.ReLU())
    side = (size + 2 * pad - kernel) // stride + 1
    match draw(st.sampled_from(["pool", "gap", "none"])):
        case "pool" if side >= 2:
            layers += [nn.AvgPool2d(2), nn.Conv2d(3, 2, 1), nn.ReLU(), nn.Flatten()]
            side //= 2
            features = 2 * side * side
        case "gap":
            layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
            features = 3
        case _:
            layers.append(nn.Flatten())
            features = 3 * side * side
    return nn.Sequential(*layers, nn.Linear(features, 3)).eval(), channels * size * size


@st.composite
def networks(draw: st.DrawFn) -> tuple[nn.Module, int, int]:
    seed = draw(st.integers(0, 2**31))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module, size = (mlp if draw(st.booleans()) else conv_net)(draw)
    return module, size, seed


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(networks(), st.integers(0, 2), st.sampled_from([None, "next"]), st.sampled_from(["raw", "abs"]))
def test_equals_autograd(case, label, other, kind):
    module, size, seed = case
    coefficients = logit_combination(3, label, (label + 1) % 3 if other else None)
    classifier = from_torch(module, size)
    x = np.random.default_rng(seed).normal(size=(8, size))
    x[0] = 0.0
    x[1, ::2] = 0.0
    x = x.astype(np.float32).astype(np.float64)
    logits, gradient = autograd(module, x, coefficients)
    expected = np.concatenate([logits, gradient if kind == "raw" else np.abs(gradient)], axis=1)
    if not any(isinstance(node.operator, Relu) for node in classifier.nodes):
        return
    network = unroll(classifier, coefficients, kind)
    assert np.abs(run_onnx(network, x) - expected).max() <= 1e-5 * max(1.0, np.abs(expected).max())
    again = from_model(onnx.load_from_string(to_bytes(to_model(network))))
    assert np.allclose(evaluate(again, x), expected, atol=1e-5, rtol=1e-5)
    assert np.allclose(
        to_torch(network, torch.float64)(torch.tensor(x)).numpy(), evaluate(network, x), atol=1e-9
    )


def test_masks_are_zero_at_zero():
    """At x = 0 every pre-activation is exactly 0, so the gradient must vanish, as in PyTorch."""
    module = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 2, bias=False))
    network = unroll(from_torch(module, 3), logit_combination(2, 0))
    assert (run_onnx(network, np.zeros((1, 3))) == 0).all()


def test_residual_add_shares_one_mask():
    rng = np.random.default_rng(1)

    def linear(a: int, b: int) -> Linear:
        return Linear(rng.normal(size=(b, a)).astype(np.float32), rng.normal(size=b).astype(np.float32))

    from salver.nets.operators import Add

    residual = Network(
        "X",
        4,
        (
            Node("z", linear(4, 4), ("X",), (4,)),
            Node("a", Relu(), ("z",), (4,)),
            Node("h", linear(4, 4), ("a",), (4,)),
            Node("s", Add(), ("h", "a"), (4,)),
            Node("r", Relu(), ("s",), (4,)),
            Node("skip", Add(), ("r", "X"), (4,)),
            Node("out", linear(4, 2), ("skip",), (2,)),
        ),
        "out",
    )
    network = unroll(residual, logit_combination(2, 1))
    x = rng.normal(size=(16, 4))
    points = torch.tensor(x, requires_grad=True)
    to_torch(residual, torch.float64)(points)[:, 1].sum().backward()
    assert points.grad is not None
    assert np.allclose(evaluate(network, x)[:, 2:], points.grad.numpy(), atol=1e-6)
    assert np.allclose(run_onnx(network, x)[:, 2:], points.grad.numpy(), atol=1e-4)
    assert sum(type(node.operator).__name__ == "Sign" for node in network.nodes) == 2


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.Sigmoid(), nn.Linear(2, 2)), "Sigmoid"),
        (nn.Sequential(nn.Linear(2, 2)), "does not depend on the input"),
    ],
)
def test_unsupported_is_named(module, message):
    with pytest.raises(SalverError, match=message):
        unroll(from_torch(module, 2), logit_combination(2, 0))


def test_a_file_that_cannot_be_unrolled_is_named(tmp_path):
    path = tmp_path / "linear.onnx"
    path.write_bytes(to_bytes(to_model(from_torch(nn.Sequential(nn.Linear(2, 2)), 2))))
    with pytest.raises(SalverError, match=re.escape(f"{path}: its gradient does not depend")):
        unrolled(path, Gradient(logit=0))


def test_unsupported_onnx_operator_is_named():
    x = onnx.helper.make_tensor_value_info("X", onnx.TensorProto.FLOAT, [1, 2])
    y = onnx.helper.make_tensor_value_info("Y", onnx.TensorProto.FLOAT, [1, 2])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Softmax", ["X"], ["Y"])], "g", [x], [y])
    with pytest.raises(SalverError, match="Softmax"):
        from_model(onnx.helper.make_model(graph))


@pytest.mark.parametrize(("label", "other"), [(3, None), (-1, None), (0, 3), (1, 1)])
def test_bad_labels(label, other):
    with pytest.raises(SalverError):
        logit_combination(3, label, other)


def test_same_network_same_bytes():
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    first, second = (
        to_bytes(to_model(unroll(from_torch(module, 3), logit_combination(2, 0)), {"b": "1", "a": "2"}))
        for _ in range(2)
    )
    assert first == second


def test_read_only_weights_make_torch_say_nothing(recwarn: pytest.WarningsRecorder) -> None:
    weight, bias = np.ones((1, 2), np.float32), np.zeros(1, np.float32)
    weight.setflags(write=False)
    bias.setflags(write=False)
    network = Network("X", 2, (Node("Y", Linear(weight, bias), ("X",), (1,)),), "Y")
    torch.set_warn_always(True)
    try:
        assert to_torch(network)(torch.ones(1, 2)).item() == 2.0
    finally:
        torch.set_warn_always(False)
    assert not recwarn.list
