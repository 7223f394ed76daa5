"""Saliency queries on networks of every piecewise linear operator, against the oracle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from salver.nets.network import Network, single
from salver.nets.onnx.reader import from_model
from salver.oracle.enumerate import enumerate_query
from salver.proofs.bounded import CheckLimits, CheckReply, check_bounded
from salver.solvers.__main__ import main
from salver.solvers.crown.solver import solve as crown
from salver.solvers.hybrid.solver import solve as hybrid
from salver.solvers.milp.solver import solve as milp
from salver.solvers.query import Budget, Options, Query
from salver.spec.truth import Truth
from salver.spec.write import to_vnnlib1
from tests.builders.small_queries import saliency_query
from tests.builders.torch_twins import Step, model_of_steps

SOLVERS = {"hybrid": hybrid, "milp": milp, "crown": crown}
POOL = {"kernel_shape": [2], "strides": [2], "pads": [1, 0]}
PARTS: dict[str, tuple[list[Step], int]] = {
    "LeakyRelu": ([("LeakyRelu", "h", "k", {"alpha": 0.25})], 4),
    "PRelu": ([("PRelu", "h s", "k", {})], 4),
    "Clip": ([("Clip", "h low high", "k", {})], 3),
    "clamp": ([("Clip", "h low", "k", {})], 4),
    "HardSigmoid": ([("HardSigmoid", "h", "k", {})], 3),
    "Abs": ([("Abs", "h", "k", {})], 3),
    "Max": ([("Split", "h", "one two", {"axis": 1}), ("Max", "one two", "k", {})], 4),
    "ReduceMax": ([("ReduceMax", "h", "k", {"axes": [1]})], 3),
    "MaxPool": (
        [("Reshape", "h to", "i", {}), ("MaxPool", "i", "p", POOL), ("Flatten", "p", "k", {})], 5,
    ),
    "Concat": ([("Relu", "h", "r", {}), ("Concat", "h r", "k", {"axis": 1})], 3),
    "Where": ([("Greater", "h low", "t", {}), ("Mul", "h high", "m", {}), ("Where", "t h m", "k", {})], 3),
    "Transpose": (
        [
            ("Relu", "h", "r", {}), ("Reshape", "r square", "q", {}),
            ("Transpose", "q", "u", {"perm": [0, 2, 1]}), ("Flatten", "u", "k", {}),
        ],
        4,
    ),
}  # fmt: skip


def classifier(kind: str, rng: np.random.Generator) -> Network:
    """X [1, 2] through a dense layer, the operator, and a dense layer, to two logits."""
    steps, width = PARTS[kind]
    probe = np.zeros((1, width), np.float32)
    constants: dict[str, Any] = {
        "W": rng.normal(size=(2, width)).astype(np.float32),
        "b": rng.normal(0.0, 0.5, width).astype(np.float32),
        "s": rng.uniform(0.0, 0.5, width).astype(np.float32),
        "low": -0.3, "high": 0.6, "to": np.array([1, 1, width]), "square": np.array([1, 2, 2]), "h": probe,
    }  # fmt: skip
    made = {"LeakyRelu": width, "PRelu": width, "Clip": width, "clamp": width, "HardSigmoid": width,
            "Abs": width, "Max": width // 2, "ReduceMax": 1, "MaxPool": 3, "Concat": 2 * width,
            "Where": width, "Transpose": width}[kind]  # fmt: skip
    constants["V"] = rng.normal(size=(made, 2)).astype(np.float32)
    chain: list[Step] = [("Gemm", "X W b", "h", {}), *steps, ("MatMul", "k V", "Y", {})]
    used = {name for step in chain for name in step[1].split()} - {"h"}
    model = model_of_steps(chain, (1, 2), {name: v for name, v in constants.items() if name in used})
    return single(from_model(model))


def asked(kind: str, seed: int, folder: Path) -> Query:
    rng = np.random.default_rng(seed)
    centre, reach = rng.uniform(-1, 1, 2), rng.uniform(0.2, 0.8)
    delta = float(10 ** rng.uniform(-1.0, 0.5))
    return saliency_query(folder, classifier(kind, rng), centre, (centre - reach, centre + reach), delta)


@pytest.mark.slow
@pytest.mark.parametrize("kind", PARTS)
def test_solvers_agree_with_the_oracle(kind, tmp_path):
    for seed in range(2):
        query = asked(kind, seed, tmp_path)
        found = enumerate_query(query.network, query.prop)
        for name, solve in SOLVERS.items():
            verdict = solve(query, Budget(20.0), Options()).verdict.value
            assert verdict in (found.truth.value, "unknown"), (name, seed)
            if found.truth is Truth.UNSAT or found.robust:
                assert verdict == found.truth.value, (name, seed)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Concat", "Transpose"])
def test_a_proof_goes_through_what_moves(kind, tmp_path, capsys):
    """The checker reads the Slice and the Transpose of the written graph by itself."""
    query, text, proof = asked(kind, 0, tmp_path), tmp_path / "q.vnnlib", tmp_path / "q.proof"
    text.write_text(to_vnnlib1(query.prop))
    main(["hybrid", "verify", str(text), "--network", f"N={query.onnx}", "--proof", str(proof)])
    assert capsys.readouterr().out.split()[0] == "unsat"
    assert check_bounded(query.onnx, text, proof, CheckLimits()).answer is CheckReply.ACCEPTED
    assert kind != "Transpose" or "Transpose" in {n.op_type for n in onnx.load(query.onnx).graph.node}
