"""What `import salver` offers to programs. Everything else may move without a word in the changelog.

import salver

network = salver.read_onnx("net.onnx")
graph = salver.Gradient(logit=3).graph(network)      # X -> Concat[logits, gradient of z_3]
salver.write_onnx(graph, "grad.onnx")
salver.solve("grad.onnx", "query.vnnlib", solver="hybrid", timeout=60).verdict
"""

from __future__ import annotations

from pathlib import Path

from salver.core.errors import SalverError
from salver.core.files import refuse_output, write_atomically
from salver.explain.cam import Cam
from salver.explain.grad_cam import GradCam
from salver.explain.gradient import Gradient
from salver.explain.smoothgrad import SmoothGrad
from salver.families.generator import Generator, InstanceDraft, Parameters
from salver.nets.network import Network
from salver.nets.onnx.reader import read_onnx
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.torch_bridge import from_torch
from salver.runners.answers import Answer, Claim, StagedInstance
from salver.runners.contract import Runner, answer_from_result_file, answer_from_words
from salver.solvers.query import Budget, Options, Result, Verdict, read_query
from salver.solvers.registry import embedded_solver
from salver.spec import Atom, Property, read_vnnlib
from salver.supervise.finished import Finished, Limits

__all__ = [
    "Answer", "Atom", "Cam", "Claim", "Finished", "Generator", "GradCam", "Gradient", "InstanceDraft",
    "Limits", "Network", "Parameters", "Property", "Result", "Runner", "SalverError", "SmoothGrad",
    "StagedInstance", "Verdict", "answer_from_result_file", "answer_from_words", "from_torch",
    "read_onnx", "read_vnnlib", "solve", "write_onnx",
]  # fmt: skip


def write_onnx(network: Network, path: str | Path, *, force: bool = False) -> None:
    """Writes a network as canonical ONNX: opset 13, input X [1, n], output Y [1, outputs].

    Raises:
        SalverError: the file is there and `force` is false, or its folder is not.
    """
    target = Path(path)
    refuse_output(target, force=force, inputs=[], option="force=True")
    write_atomically(target, to_bytes(to_model(network)))


def solve(onnx: str | Path, vnnlib: str | Path, *, solver: str = "hybrid", timeout: float = 60.0) -> Result:
    """Decides a query with an embedded solver, in this process.

    An `unsat` of `hybrid` or `crown` rests on outward-rounded bounds or multipliers; that of others is
    a claim.

    Args:
        onnx: network; vnnlib: property over it, in VNN-LIB 1.0 or 2.0.
        solver: one of `salver solvers list` that is embedded.
        timeout: wall seconds, counted from now. Nothing stops a library that overruns them: `salver-solve`
            does, from another process.

    Raises:
        SalverError: a file cannot be read, or the solver needs a package that is missing.
        UnsupportedQueryError: the network has operators that are not supported.
    """
    decide = embedded_solver(solver).load()
    return decide(read_query(Path(onnx), Path(vnnlib)), Budget(timeout), Options())
