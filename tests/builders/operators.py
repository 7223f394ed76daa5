"""What must hold of an operator of networks, whichever it is: it means the same wherever it is known."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from onnx import helper

from salver.explain.autograd import gradient_by_autograd
from salver.explain.unroll import logit_combination, unroll
from salver.nets.network import Network, evaluate, extend_ranges, lower
from salver.nets.onnx.reader import from_model
from salver.nets.onnx.writer import to_model
from salver.nets.torch_bridge import to_torch
from salver.solvers.__main__ import main as solve
from tests.builders.onnx_models import constant, made

SIZES = (2, 6, 2)
Points = npt.NDArray[np.float32]


def network_of(kind: str, **attributes: Any) -> onnx.ModelProto:
    """X [1, 2] through a matrix, an ONNX operator on the six entries of that, and a matrix, to Y [1, 2]."""
    rng = np.random.default_rng(3)
    weights = [constant(f"W{n}", rng.normal(size=size)) for n, size in enumerate(pairwise(SIZES))]
    layers = [
        helper.make_node("MatMul", ["X", "W0"], ["z"]),
        helper.make_node(kind, ["z"], ["h"], **attributes),
        helper.make_node("MatMul", ["h", "W1"], ["Y"]),
    ]
    return made([*weights, *layers], [1, 2])


def check_meaning(model: onnx.ModelProto) -> None:
    """Values, ranges and the solvers' program of a network are those of ONNX Runtime, written again too."""
    network, x = from_model(model), _points()
    expected = _outputs(model, x)
    for values in (
        evaluate(network, x),
        to_torch(network)(torch.from_numpy(x)),
        lower(network).evaluate(x)[0],
    ):
        assert np.allclose(values, expected, atol=1e-5)
    written = to_model(network)
    assert from_model(written).sha256() == network.sha256()
    assert np.allclose(_outputs(written, x), expected, atol=1e-5)
    ranges = {network.input: (-np.ones(2), np.ones(2))}
    extend_ranges(ranges, network.nodes, network.shapes)
    low, high = ranges[network.output]
    assert ((expected >= low) & (expected <= high)).all()


def check_gradient(network: Network) -> None:
    """The unrolled gradient is that of automatic differentiation, in numpy and as a file."""
    combination, x = logit_combination(2, 0), _points()
    graph = unroll(network, combination)
    expected = np.hstack([evaluate(network, x), gradient_by_autograd(network, combination, x)])
    assert np.allclose(evaluate(graph, x), expected, atol=1e-5)
    assert np.allclose(_outputs(to_model(graph), x), expected, atol=1e-5)


def check_verdicts(model: onnx.ModelProto, folder: Path, *solvers: str) -> None:
    """Solvers reach the largest first output on a grid, and nothing clearly above it."""
    side = np.linspace(-1, 1, 201, dtype=np.float32)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    most = float(evaluate(from_model(model), grid)[:, 0].max())
    path, query = folder / "n.onnx", folder / "q.vnnlib"
    path.write_bytes(model.SerializeToString())
    box = "".join(f"(declare-const X_{i} Real)(assert (>= X_{i} -1))(assert (<= X_{i} 1))" for i in (0, 1))
    outputs = "(declare-const Y_0 Real)(declare-const Y_1 Real)"
    for bound, verdict in ((most - 0.01, "sat"), (most + 0.1, "unsat")):
        query.write_text(f"{box}{outputs}(assert (>= Y_0 {bound:.6f}))")
        for solver in solvers:
            with redirect_stdout(io.StringIO()) as said:
                solve([solver, "verify", str(query), "--network", f"N={path}", "--timeout", "60"])
            assert said.getvalue().split()[0] == verdict, solver


def _points() -> Points:
    return np.random.default_rng(0).uniform(-1, 1, (200, 2)).astype(np.float32)


def _outputs(model: onnx.ModelProto, x: Points) -> Points:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return np.vstack([session.run(None, {"X": row[None]})[0] for row in x])
