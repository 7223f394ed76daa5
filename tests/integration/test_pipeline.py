"""The user's way: generate, validate, run, judge, report; and what bad input gets."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest

from salver.families.instance_set import checksums, read_manifest
from salver.publish.validate import validate
from tests.builders.command_line import salver
from tests.builders.tiny_suite import tiny_suite

ROOT = Path(__file__).resolve().parents[2]
SUITE = tiny_suite(1, [0.3], [0.5, 1.1])


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A project of its own beside this checkout's generators and runners."""
    root = tmp_path_factory.mktemp("project")
    for name in ("generators", "runners"):
        (root / name).symlink_to(ROOT / name)
    (root / "benchmarks").mkdir()
    (root / "benchmarks" / "tiny.toml").write_text(SUITE)
    return root


@pytest.fixture(scope="module")
def instance_set(project) -> Path:
    salver(project, "generate", "tiny")
    return project / "instances" / "tiny" / "1-s0"


def test_proofs_are_asked_for_checked_once_and_counted(project, instance_set):
    done = salver(project, "all", "tiny", "--solvers", "milp,marabou", "--proofs", "--timeout", "20")
    run_dir = Path(project, "reports", done.stdout.rpartition("reports/")[2].partition("/")[0])
    results = pd.read_parquet(run_dir / "results.parquet")
    verified = results[results["outcome"] == "verified"]
    kinds = {name: set(group["proof"]) for name, group in verified.groupby("solver")}
    assert kinds == {"milp": {"checked"}, "marabou": {"confirmed"}}
    count = int((verified["solver"] == "milp").sum())
    assert f"proofs: {count} accepted and 0 rejected of {2 * count} verified" in done.stdout
    stored = (run_dir / "proofs.json").read_bytes()
    salver(project, "report", run_dir.name)
    assert (run_dir / "proofs.json").read_bytes() == stored
    proof = next((run_dir / "logs").glob("*/files/unsat.proof.gz"))
    proof.write_bytes(gzip.compress(b"nonsense"))
    assert f"{count - 1} accepted and 1 rejected" in salver(project, "report", run_dir.name).stdout
    assert "its proof is rejected" in (run_dir / "disagreements.csv").read_text()


def test_the_whole_way_for_programs(project, instance_set):
    done = salver(project, "all", "tiny", "--solvers", "milp,falsify", "--json")
    found = json.loads(done.stdout)
    count = len(read_manifest(instance_set).instances)
    assert {row["solver"] for row in found["leaderboard"]} == {"milp", "falsify", "virtual best"}
    assert found["wrong"] == []
    assert Path(found["report"]).is_file()
    assert f"{2 * count} jobs run" in done.stderr
    ran = json.loads(salver(project, "run", "tiny", "--solvers", "milp,falsify", "--resume", "--json").stdout)
    folder = str(Path(found["report"]).parent)
    assert ran == {"suite": "tiny", "folder": folder, "finished": 0, "skipped": 2 * count, "left": 0}
    made = json.loads(salver(project, "generate", "tiny", "--json").stdout)
    assert made.pop("date").endswith(" UTC")
    assert made == {
        "suite": "tiny", "folder": str(instance_set), "instances": count, "generated": False, "notes": [],
    }  # fmt: skip


def test_the_whole_way(project, instance_set):
    done = salver(project, "all", "tiny", "--solvers", "milp,falsify", "-j", "2", draws=True)
    assert "falsify" in done.stdout
    run_dir = Path(project, "reports", done.stdout.rpartition("reports/")[2].partition("/")[0])
    results = pd.read_parquet(run_dir / "results.parquet")
    count = len(read_manifest(instance_set).instances)
    assert len(results) == 2 * count
    assert not (results["outcome"] == "wrong").any()
    milp = results[results["solver"] == "milp"]
    assert set(milp["outcome"]) == {"verified", "falsified"}
    for name in ("index.html", "leaderboard.md", "leaderboard.csv", "leaderboard.tex", "disagreements.csv"):
        assert (run_dir / name).stat().st_size > 0
    cactus = (run_dir / "cactus.svg").read_text()
    assert ">milp<" in cactus
    assert ">falsify<" in cactus
    again = salver(project, "all", "tiny", "--solvers", "milp,falsify", "--resume")
    assert f"0 jobs run, {2 * count} done before" in again.stdout
    rejudged = json.loads(salver(project, "report", "latest", "--profile", "par2", "--json").stdout)
    assert {row["solver"] for row in rejudged["leaderboard"]} == {"milp", "falsify", "virtual best"}
    assert (rejudged["profile"], rejudged["wrong"]) == ("par2", [])
    assert Path(rejudged["report"]) == run_dir / "index.html"
    shown = salver(project, "gallery", "latest", "--per-network", "1")
    assert "gallery: 1 falsified instances" in shown.stdout
    assert (run_dir / "gallery" / "index.md").is_file()


def test_same_seed_same_bytes(project, instance_set):
    before = (instance_set / "SHA256SUMS").read_text()
    salver(project, "generate", "tiny", "--force")
    assert (instance_set / "SHA256SUMS").read_text() == before
    assert checksums(instance_set) == before


def test_a_fresh_set_is_valid(instance_set):
    manifest, complaints = validate(instance_set)
    assert len(manifest.instances) >= 2
    assert complaints == []


def test_nothing_half_written_is_left(project, instance_set):
    assert [p.name for p in instance_set.parent.iterdir()] == [instance_set.name]


def _change_bound(folder: Path) -> None:
    path = next((folder / "vnnlib").iterdir())
    text = gzip.decompress(path.read_bytes()).decode()
    path.write_bytes(
        gzip.compress(
            text.replace("(assert (>= Y_0 Y_1))", "(assert (>= Y_1 Y_0))", 1)
            .replace("(assert (>= Y_1 Y_0))", "(assert (<= Y_1 Y_0))", 1)
            .encode()
        )
    )


def _change_weight(folder: Path) -> None:
    path = next((folder / "onnx").iterdir())
    model = onnx.load(path)
    tensor = onnx.numpy_helper.to_array(model.graph.initializer[0]) + np.float32(0.5)
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(tensor, model.graph.initializer[0].name))
    onnx.save(model, path)


def _change_ids(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    for instance in manifest["instances"]:
        instance["id"] = instance["id"][::-1]
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _list_twice(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["instances"].append(manifest["instances"][0])
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "instances.csv").write_text("x"), "does not list"),
        (lambda folder: next((folder / "onnx").iterdir()).write_bytes(b"junk"), "is a text file"),
        (lambda folder: next((folder / "vnnlib2").iterdir()).unlink(), "cannot be read"),
        (_change_bound, "different questions"),
        (_change_weight, "not the gradient network"),
        (_change_ids, "was changed after it was generated"),
        (_list_twice, "have the same content"),
    ],
)
def test_damage_is_noticed(instance_set, tmp_path, damage, message):
    folder = tmp_path / "copy"
    shutil.copytree(instance_set, folder)
    damage(folder)
    complaints = [complaint.what for complaint in validate(folder)[1]]
    assert any(message in what for what in complaints), complaints
    assert any("checksum" in what for what in complaints)


BAD = [
    (["run", "tinny"], "did you mean tiny?"),
    (["run", "tiny", "--solvers", "mlip"], "did you mean milp?"),
    (["run", "tiny", "--timeout", "0"], "--timeout: 0 is no time that a run can have"),
    (["run", "tiny", "--timeout", "-1"], "give seconds above 0"),
    (["run", "tiny", "-j", "0"], "workers"),
    (["run", "tiny", "--device", "tpu"], "choose cpu or cuda"),
    (["report", "nowhere"], "no run of that name"),
    (["validate", "nowhere"], "does not exist"),
    (["unroll", "missing.onnx", "-o", "x.onnx", "--label", "0"], "cannot be read"),
    (["data", "fetch", "mnis"], "mnist"),
    (["report", "latest", "--profile", "vnncomp2062"], "vnncomp2026"),
]


@pytest.mark.parametrize(
    ("arguments", "message"), BAD, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_bad_input_is_one_clear_line(project, instance_set, arguments, message):
    before = sorted(p.name for p in (project / "instances" / "tiny").iterdir())
    done = salver(project, *arguments, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in (project / "instances" / "tiny").iterdir()) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = ", "is no TOML file"),
        ('title = "t"\ntimeout = 5\ncolour = 1\n[[family]]\ngenerator = "vg_box"\n', "colour"),
        ('title = "t"\ntimeout = 0\n[[family]]\ngenerator = "vg_box"\n', "timeout"),
        ('title = "t"\ntimeout = 5\n[[family]]\ngenerator = "vg_bix"\n', "did you mean vg_box?"),
        ('title = "t"\ntimeout = 5\n[[family]]\ngenerator = "vg_box"\n'
         'params = { network = "x", epsilons = [1] }\n',
         "no network of that name"),
        ('title = "t"\ntimeout = 5\n[[family]]\ngenerator = "vg_box"\n'
         'params = { network = "bandit-6x6", epsilons = [nan], deltas = [1.0] }\n', "epsilon"),
        ('title = "t"\ntimeout = 5\n[[family]]\ngenerator = "vg_box"\n'
         'params = { network = "bandit-6x6", epsilons = [0.5], deltas = [-1.0] }\n', "delta"),
        ('title = "t"\ntimeout = 5\n[[family]]\ngenerator = "vg_box"\n'
         'params = { network = "bandit-6x6", epsilons = [0.5], condition = "top-k", k = 5 }\n', "k: 5"),
    ],
)  # fmt: skip
def test_bad_suites(project, text, message):
    (project / "benchmarks" / "bad.toml").write_text(text)
    try:
        done = salver(project, "generate", "bad", check=False)
    finally:
        (project / "benchmarks" / "bad.toml").unlink()
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (project / "instances" / "bad").exists() or not list((project / "instances" / "bad").iterdir())


def test_missing_data_is_said(project, tmp_path):
    (project / "benchmarks" / "data.toml").write_text(
        'title = "t"\ntimeout = 5\n[[family]]\ngenerator = "vg_paper"\n'
        'params = { table = "bandit", deltas = [1.0] }\n'
    )
    try:
        done = salver(project, "generate", "data", "--data-dir", str(tmp_path), check=False)
    finally:
        (project / "benchmarks" / "data.toml").unlink()
    assert done.returncode == 2
    assert "SALVER_DATA" in done.stderr


def test_unroll_of_a_users_network(project, instance_set, tmp_path):
    network = next((instance_set / "networks").iterdir())
    out = tmp_path / "grad.onnx"
    done = salver(project, "unroll", str(network), "-o", str(out), "--label", "1")
    assert "Y [batch,7]" in done.stdout
    assert out.exists()
    bad = salver(
        project, "unroll", str(network), "-o", str(tmp_path / "no.onnx"), "--label", "9", check=False
    )
    assert bad.returncode == 2
    assert "class 9 does not exist" in bad.stderr
    assert not (tmp_path / "no.onnx").exists()


def test_doctor_says_what_is_missing(project):
    done = salver(project, "doctor")
    assert "solver milp" in done.stdout
    assert "ABCROWN_HOME is not set" in done.stdout


def test_listings(project):
    assert "tiny" in salver(project, "suites").stdout
    assert "epsilons" in salver(project, "families", "vg_box").stdout
    assert "digits" in salver(project, "data", "list").stdout


@pytest.mark.parametrize(
    ("network", "query", "message"),
    [
        (b"junk", None, "is a text file"),
        (b"\xff\xfejunk", None, "is no ONNX file"),
        (None, b"(assert (>= X_0 0)", "never closed"),
        (None, b"(declare-const X_0 Real)(assert (>= X_0 nan))", "nan"),
        (
            None,
            b"(declare-const X_0 Real)(declare-const Y_0 Real)(assert (>= X_0 0))(assert (<= X_0 1))",
            "network has",
        ),
    ],
)
def test_bad_files_stop_a_solver_with_one_line(instance_set, tmp_path, network, query, message):
    onnx_file, vnnlib_file = tmp_path / "n.onnx", tmp_path / "q.vnnlib"
    onnx_file.write_bytes(network or next((instance_set / "onnx").iterdir()).read_bytes())
    text = gzip.decompress(next((instance_set / "vnnlib").iterdir()).read_bytes())
    vnnlib_file.write_bytes(query or text)
    for timeout, expected in (("5", message), ("0", "timeout 0 is not positive")):
        done = subprocess.run(
            [sys.executable, "-m", "salver.solvers", "milp", "verify", str(vnnlib_file), "--network",
             f"N={onnx_file}", "--timeout", timeout],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 2
        assert done.stdout == ""
        assert expected in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_bench_of_the_published_bandit_table(project, data_dir):
    for name in ("paper-1", "paper-2"):
        shutil.copy(ROOT / "benchmarks" / f"{name}.toml", project / "benchmarks")
    asked = ("--tables", "paper-1", "--solvers", "hybrid", "--timeout", "20", "--data-dir", str(data_dir))
    done = salver(project, "bench", "solvers", *asked)
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith(("0.5 ", "1.17 "))]
    assert [row[3] for row in rows] == ["unsat", "sat"]
    folder = max((project / "reports").glob("bench-*"))
    assert "solving" in (folder / "paper-1.csv").read_text()
    assert "BanditNet" in (folder / "bench.md").read_text()


def test_bench_says_what_is_wrong_in_one_line(project, tmp_path):
    part = ("--tables", "paper-1")
    for asked in (("--tables", "paper"), (*part, "--cores", "99"), (*part, "--solvers", "hybird")):
        done = salver(project, "bench", "solvers", *asked, check=False)
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1
