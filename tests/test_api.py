"""`import salver`: quick, and enough to go from a network to a verdict."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import salver
from salver import api
from salver.nets.network import evaluate
from salver.spec.write import to_vnnlib1


def test_everything_offered_is_there_and_nothing_else() -> None:
    assert all(getattr(salver, name) is getattr(api, name) for name in api.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        salver.nothing  # noqa: B018 - the look-up is the test


@pytest.mark.parametrize("module", ["salver", "salver.cli.app"])
def test_import_alone_brings_no_library(module: str) -> None:
    """So that `salver --help` is there at once: pydantic alone takes as long as all the rest of it."""
    heavy = ("numpy", "onnx", "torch", "pandas", "pydantic")
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


READING = ("scipy.sparse", "onnx", "PIL", "urllib.request")
TABLES = ("torch", "pandas", "sklearn", "salver.api")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("salver.run.job", READING + TABLES),
        ("salver.judge.verdicts", TABLES),
        ("salver.publish.folder, salver.publish.verify", TABLES),
        ("salver.api", TABLES[:-1]),
    ],
)
def test_a_stage_brings_no_library_that_another_one_needs(module: str, heavy: tuple[str, ...]) -> None:
    """Each worker and each process of a run would pay for it."""
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_any_method_unrolls_what_is_named(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)).eval()
    method = salver.SmoothGrad(noise={"draws": 2, "sigma": 0.1}, absolute=True)
    graph = salver.unroll(module, torch.zeros(1, 2), label=1, method=method)
    assert (evaluate(graph, np.random.default_rng(0).normal(size=(20, 2)))[:, 2:] >= 0).all()
    said = salver.unroll(
        module, torch.zeros(1, 2), label=1, method="smooth", noise_draws=2, noise_sigma=0.1, absolute=True
    )
    assert said.sha256() == graph.sha256()
    plain = salver.unroll(salver.from_torch(module, 2), label=0)
    assert plain.sha256() == salver.Gradient(logit=0).graph(salver.from_torch(module, 2)).sha256()
    with pytest.raises(salver.SalverError, match="no method is called 'gradeint'; did you mean gradient"):
        salver.unroll(module, torch.zeros(1, 2), label=1, method="gradeint")
    with pytest.raises(salver.SalverError, match="noise_draws and noise_sigma: are missing; smoothgrad"):
        salver.unroll(module, torch.zeros(1, 2), label=1, method="smoothgrad")
    with pytest.raises(salver.SalverError, match="noise_drawz: there is no entry of that name; did you mean"):
        salver.unroll(module, torch.zeros(1, 2), label=1, method="smoothgrad", noise_drawz=2)
    with pytest.raises(salver.SalverError, match="5"):
        salver.unroll(module, torch.zeros(1, 2), label=5)


@pytest.mark.parametrize(("least", "verdict"), [(0.5, "sat"), (1e3, "unsat")])
def test_from_a_torch_module_to_a_verdict(tmp_path: Path, least: float, verdict: str) -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    network = salver.from_torch(module, 2)
    graph = salver.Gradient(logit=0, absolute=True).graph(network)
    path, query = tmp_path / "grad.onnx", tmp_path / "q.vnnlib"
    salver.write_onnx(graph, path)
    with pytest.raises(salver.SalverError, match="force=True"):
        salver.write_onnx(graph, path)
    largest = evaluate(graph, np.random.default_rng(0).uniform(-1, 1, (500, 2)))[:, 2].max()
    clause = ((salver.Atom(2, ">=", constant=float(np.float32(least * largest))),),)
    query.write_text(to_vnnlib1(salver.Property(-np.ones(2), np.ones(2), (clause,), 4)))
    found = salver.solve(path, query, timeout=20)
    assert found.verdict == salver.Verdict(verdict)
