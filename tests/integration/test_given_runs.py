"""Somebody else's set from its files to the page: nothing is known of it, witnesses decide."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from salver.run.manifest import read_run
from tests.builders.command_line import salver
from tests.builders.given_sets import benchmark, relu_model
from tests.builders.tiny_suite import tiny_suite

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    for name in ("generators", "runners"):
        (root / name).symlink_to(ROOT / name)
    (root / "benchmarks").mkdir()
    (root / "benchmarks" / "tiny.toml").write_text(tiny_suite(1, [0.5], [2.0]))
    return root


def outcomes(run: Path) -> dict[str, tuple[str, str]]:
    frame = pd.read_parquet(run / "results.parquet")
    return dict(zip(frame["instance"], zip(frame["outcome"], frame["witness"], strict=True), strict=True))


def latest(project: Path) -> Path:
    return max((project / "reports").glob("*/manifest.json"), key=lambda path: path.stat().st_mtime).parent


def test_a_benchmark_is_run_resumed_and_reported_later(project, tmp_path):
    folder = benchmark(tmp_path / "tiny.bench", packed=True)
    done = salver(project, "run", str(folder), "--solvers", "milp", "-j", "2")
    assert "tiny.bench: 3 jobs run" in done.stdout
    run = latest(project)
    again = salver(project, "run", str(folder), "--solvers", "milp", "-j", "2", "--resume")
    assert "0 jobs run, 3 done before" in again.stdout
    record = read_run(run)
    assert (record.given, record.suite, bool(record.kept)) == (True, "tiny.bench", True)
    limits = {
        one["instance"]: one["limit_s"]
        for one in map(json.loads, (run / "events.jsonl").read_text().splitlines())
    }
    assert limits == {"a_sat": 5, "a_unsat": 7.5, "a_pair": 5}
    (folder / "vnnlib" / "sat.vnnlib.gz").write_bytes(gzip.compress(b"(declare-const X_0 Real)"))
    refused = salver(project, "run", str(folder), "--solvers", "milp", "--resume", check=False)
    assert (refused.returncode, "has changed since this run" in refused.stderr) == (2, True)
    for path in folder.rglob("*.gz"):
        path.unlink()  # the run has its own copy
    assert "falsified" in salver(project, "report", "latest").stdout
    good = ("falsified", "correct")
    assert outcomes(run) == {"a_sat": good, "a_unsat": ("verified", "none"), "a_pair": good}
    page = (run / "index.html").read_text()
    assert "Is there an input that meets what the query" in page


def test_a_published_set_and_its_archive_are_run_with_all_that_is_known(project, tmp_path):
    salver(project, "publish", "tiny", "-o", str(tmp_path / "out"))
    archive = tmp_path / "out.tar.gz"
    salver(project, "run", str(archive), "--solvers", "falsify", "-j", "1")
    run = latest(project)
    manifest = json.loads((run / "set" / "manifest.json").read_text())
    assert manifest["instances"][0]["facts"]["expected"] in ("sat", "unsat")
    listed = salver(
        project, "run", str(tmp_path / "out" / "instances.csv"), "--solvers", "falsify", "-j", "1"
    )
    assert "1 job run" in listed.stdout
    for target in (tmp_path / "out", archive):
        assert "1 instance valid" in salver(project, "validate", str(target)).stdout
    named = next((tmp_path / "out" / "vnnlib").glob("*.gz"))
    named.write_bytes(gzip.compress(b"(assert)"))
    changed = salver(project, "run", str(tmp_path / "out"), "--solvers", "falsify", check=False)
    assert "is not what the set's checksums say" in changed.stderr


def test_a_set_that_is_refused_leaves_nothing(project, tmp_path):
    before = sorted((project / "reports").iterdir()) if (project / "reports").exists() else []
    twins = "onnx/a.onnx,vnnlib/sat.vnnlib,5\nonnx/c.onnx,vnnlib/sat.vnnlib,5\n"
    folder = benchmark(tmp_path / "tiny", rows=twins)
    (folder / "onnx" / "c.onnx").write_bytes(relu_model(2.0))
    checked = salver(project, "validate", str(folder), check=False)
    assert (checked.returncode, "have the same content" in checked.stdout) == (1, True)
    said = [
        salver(project, "run", str(folder), "--solvers", "milp", check=False),
        salver(project, "run", str(tmp_path / "gone"), "--solvers", "milp", check=False),
        salver(project, "run", str(tmp_path), "--solvers", "milp", check=False),
    ]
    assert [one.returncode for one in said] == [2, 2, 2]
    assert "have the same content" in said[0].stderr
    assert "does not exist" in said[1].stderr
    assert "name one of its folders: tiny" in said[2].stderr
    assert all(one.stderr.count("\n") == 1 for one in said)
    assert before == (sorted((project / "reports").iterdir()) if (project / "reports").exists() else [])


def test_validate_reads_a_benchmark_again(project, tmp_path):
    folder = benchmark(tmp_path / "tiny")
    assert "3 instances valid" in salver(project, "validate", str(folder)).stdout
    (folder / "vnnlib" / "unsat.vnnlib").write_text("(declare-const X_0 Real)(declare-const Y_0 Real)(assert")
    (folder / "vnnlib" / "sat.vnnlib").write_text(
        "(declare-const X_0 Real)(declare-const X_1 Real)(declare-const Y_0 Real)(assert (<= X_0 Y_0))"
    )
    found = salver(project, "validate", str(folder), check=False)
    assert found.returncode == 1
    assert "a_unsat: " in found.stdout
    assert "never closed" in found.stdout
    assert "a_sat: the model has 1 inputs, 2 are given" in found.stdout
