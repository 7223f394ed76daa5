"""Tiny instance sets as others lay them out: one input, y = factor * relu(x)."""

from __future__ import annotations

import gzip
from pathlib import Path

import onnx
from onnx import helper

from tests.builders.onnx_models import constant, made

BOX = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (>= X_0 -1))(assert (<= X_0 1))"
SAT = BOX + "(assert (or (and (>= Y_0 1.5)) (and (<= Y_0 -1))))"
UNSAT = BOX + "(assert (or (and (<= X_0 0.5) (> Y_0 1.5)) (>= Y_0 2.5)))"
PAIR = (
    "(vnnlib-version <2.0>)"
    "(declare-network f (declare-input X real [1,1]) (declare-output Y real [1,1]))"
    "(declare-network g (isomorphic-to f) (declare-input Z real [1,1]) (declare-output W real [1,1]))"
    "(assert (and (>= X[0,0] 0.0) (<= X[0,0] 1.0) (== X[0,0] Z[0,0])))(assert (> W[0,0] (+ Y[0,0] 0.5)))"
)
PLAIN_ROWS = "onnx/a.onnx,vnnlib/sat.vnnlib,5\nonnx/a.onnx,vnnlib/unsat.vnnlib,7.5\n"
PAIR_ROW = "\"[('f', 'onnx/a.onnx'), ('g', 'onnx/sub/b.onnx')]\",./vnnlib/pair.vnnlib,5\n"


def relu_model(factor: float) -> bytes:
    """y = factor * relu(x), one number, as a serialised model."""
    nodes = [constant("c", [[factor]]), helper.make_node("Relu", ["X"], ["h"])]
    model: onnx.ModelProto = made([*nodes, helper.make_node("Mul", ["h", "c"], ["Y"])], [1, 1])
    return model.SerializeToString()


def benchmark(folder: Path, *, packed: bool = False, rows: str = PLAIN_ROWS + PAIR_ROW) -> Path:
    """A benchmark's folder as VNN-COMP has it, with files compressed where `packed`."""
    files = {
        "onnx/a.onnx": relu_model(2.0),
        "onnx/sub/b.onnx": relu_model(3.0),
        "vnnlib/sat.vnnlib": SAT.encode(),
        "vnnlib/unsat.vnnlib": UNSAT.encode(),
        "vnnlib/pair.vnnlib": PAIR.encode(),
    }
    for name, data in files.items():
        target = folder / (f"{name}.gz" if packed else name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(gzip.compress(data) if packed else data)
    (folder / "instances.csv").write_text(rows)
    return folder
