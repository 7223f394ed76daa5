"""Run in a copy of the package that has the operator: whatever goes through all operators knows it."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stdout
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from salver.core.errors import SalverError
from salver.explain.reference import by_autograd
from salver.explain.unroll import logit_combination, unroll
from salver.nets.network import Network, evaluate, extend_ranges, lower
from salver.nets.onnx.reader import from_model
from salver.nets.onnx.writer import to_model
from salver.nets.torch_bridge import from_torch, to_torch
from salver.oracle.exact import exact_outputs
from salver.runners.contract import EmbeddedRunner
from salver.solvers.__main__ import main as solve
from salver.testkit.declarations import sample_instance

SIZES = (2, 6, 2)


class Own(EmbeddedRunner):
    name = "hybrid"


def model(alpha: float) -> onnx.ModelProto:
    rng = np.random.default_rng(3)
    pairs = pairwise(SIZES)
    weights = {f"W{n}": rng.normal(size=size).astype(np.float32) for n, size in enumerate(pairs)}
    nodes = [
        helper.make_node("MatMul", ["X", "W0"], ["z"]),
        helper.make_node("LeakyRelu", ["z"], ["h"], alpha=alpha),
        helper.make_node("MatMul", ["h", "W1"], ["Y"]),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 2]) for n in ("X", "Y")]
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "leaky", ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def outputs(file: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(file.SerializeToString())
    return np.vstack([session.run(None, {"X": row[None]})[0] for row in x])


def check(folder: Path) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (200, 2)).astype(np.float32)
    file = model(0.25)
    network = from_model(file)
    read_and_written(file, network, x)
    in_torch(x)
    unrolled(network, x)
    for_solvers(network, x)
    decided(folder, file)
    assert Own().supports(sample_instance(("Gemm", "LeakyRelu"))) is None
    with pytest.raises(SalverError, match="LeakyRelu has no exact answer"):
        exact_outputs(network, x[0])
    with pytest.raises(SalverError, match="LeakyRelu with alpha 2 is not supported"):
        from_model(model(2.0))


def read_and_written(file: onnx.ModelProto, network: Network, x: np.ndarray) -> None:
    assert np.allclose(evaluate(network, x), outputs(file, x), atol=1e-5)
    again = to_model(network)
    assert from_model(again).sha256() == network.sha256()
    assert np.allclose(outputs(again, x), outputs(file, x), atol=1e-5)


def in_torch(x: np.ndarray) -> None:
    layers = torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.LeakyReLU(0.125), torch.nn.Linear(5, 2))
    network, points = from_torch(layers, 2), torch.from_numpy(x)
    assert np.allclose(evaluate(network, x), layers(points).detach(), atol=1e-5)
    assert np.allclose(evaluate(network, x), to_torch(network)(points), atol=1e-5)


def unrolled(network: Network, x: np.ndarray) -> None:
    combination = logit_combination(2, 0)
    graph = unroll(network, combination)
    assert np.allclose(evaluate(graph, x), by_autograd(network, combination, x), atol=1e-5)
    assert np.allclose(outputs(to_model(graph), x), by_autograd(network, combination, x), atol=1e-5)


def for_solvers(network: Network, x: np.ndarray) -> None:
    values, _, _ = lower(network).evaluate(x)
    assert np.allclose(values, evaluate(network, x.astype(np.float64)), atol=1e-9)
    ranges = {network.input: (-np.ones(2), np.ones(2))}
    extend_ranges(ranges, network.nodes, network.shapes)
    low, high = ranges[network.output]
    assert ((values >= low) & (values <= high)).all()


def decided(folder: Path, file: onnx.ModelProto) -> None:
    """The largest output on a grid is reached, and little more is not."""
    side = np.linspace(-1, 1, 201, dtype=np.float32)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    most = float(evaluate(from_model(file), grid)[:, 0].max())
    (folder / "n.onnx").write_bytes(file.SerializeToString())
    box = "".join(f"(declare-const X_{i} Real)(assert (>= X_{i} -1))(assert (<= X_{i} 1))" for i in (0, 1))
    query = folder / "q.vnnlib"
    for bound, verdict in ((most - 0.01, "sat"), (most + 0.1, "unsat")):
        ends = "(declare-const Y_0 Real)(declare-const Y_1 Real)"
        query.write_text(f"{box}{ends}(assert (>= Y_0 {bound:.6f}))")
        for solver in ("hybrid", "milp", "crown"):
            arguments = ["verify", str(query), "--network", f"N={folder / 'n.onnx'}", "--timeout", "60"]
            with redirect_stdout(io.StringIO()) as said:
                assert solve([solver, *arguments]) == 0
            assert said.getvalue().split()[0] == verdict, solver


if __name__ == "__main__":
    check(Path(sys.argv[1]))
