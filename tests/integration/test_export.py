"""A run in the form of VNN-COMP 2026: what the competition's scoring scripts make of it is what we count.

`tests/golden/export/official.txt` holds an export's results, and behind them what the scripts of
VNN-COMP/vnncomp2026_results (commit b0ae711) made of it. `UPDATE_GOLDEN=1` writes the results anew; then the
scripts must be run again.
"""

from __future__ import annotations

import csv
import gzip
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from salver.families.instance_set import read_manifest
from salver.judge.judged import judge_run
from salver.judge.scoring import leaderboard, results_frame
from salver.run.loaded import load_run
from tests.builders.command_line import salver
from tests.builders.tiny_suite import tiny_suite
from tests.fake_solvers.project import Fake, fake_project

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "export" / "official.txt"
FAKES = {
    "liar": Fake("unsat"),
    "blind": Fake("sat_no_witness"),
    "mumbles": Fake("sat_malformed_witness"),
    "far": Fake("sat_wrong_witness"),
    "shy": Fake("unknown"),
    "fails": Fake("exits_nonzero"),
}


class Exported(NamedTuple):
    """A project with the run `scored`, and both folders of its export."""

    project: Path
    results: Path
    benchmarks: Path


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    root = tmp_path_factory.mktemp("export")
    fake_project(root, root / "pids", FAKES)
    (root / "runners" / "embedded.py").symlink_to(ROOT / "runners" / "embedded.py")
    (root / "generators").rmdir()
    (root / "generators").symlink_to(ROOT / "generators")
    (root / "benchmarks" / "tiny.toml").write_text(tiny_suite(1, [0.3, 0.5], [0.5, 1.1]))
    solvers = ",".join(["milp", *FAKES])
    salver(root, "run", "tiny", "--solvers", solvers, "--name", "scored", "--timeout", "30", "-j", "2")
    found = Exported(root, root / "results", root / "sets")
    salver(root, "export", "scored", "--to", "vnncomp2026", "results", "--benchmarks", "sets")
    return found


def rows_of(folder: Path) -> list[list[str]]:
    with (folder / "results.csv").open(newline="") as stream:
        return list(csv.reader(stream))


def told(results: Path) -> list[str]:
    """Of every tool the results in order, with how many inputs each counterexample has."""
    lines = []
    for folder in sorted(results.glob("*/2026_tiny")):
        words = []
        for _, network, query, _, word, _ in rows_of(folder):
            stem = f"{Path(network).stem}_{Path(query).stem}"
            witness = folder / f"{stem}.counterexample.gz"
            assert witness.exists() == (word == "sat")
            inputs = f" {gzip.decompress(witness.read_bytes()).count(b'(X_')}" if word == "sat" else ""
            words.append(word + inputs)
        lines.append(f"{folder.parent.name}: {', '.join(words)}")
    return lines


def test_the_scripts_of_the_competition_count_as_we_do(exported: Exported) -> None:
    found, golden = told(exported.results), GOLDEN.read_text().splitlines()
    split = golden.index("")
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text("\n".join([*found, *golden[split:]]) + "\n")
    assert found == golden[:split]
    run = load_run(exported.project / "reports" / "scored", exported.project)
    ours = {}
    for row in leaderboard(results_frame(judge_run(run).rows)).to_dict("records"):
        counts = (row["verified"], row["falsified"], row["wrong"])
        ours[row["solver"]] = (*counts, 10 * (counts[0] + counts[1]) - 150 * counts[2])
    official = {
        tool: tuple(map(int, counts)) for tool, *counts in (line.split() for line in golden[split + 2 :])
    }
    # The scripts leave out a tool that has no answer at all.
    assert set(ours) - set(official) == {"virtual best", "shy", "fails"}
    assert {tool: ours[tool] for tool in official} == official


def test_the_form_of_results_and_benchmarks(exported: Exported) -> None:
    manifest = read_manifest(exported.project / "instances" / "tiny" / "1-s0")
    place = "vnncomp2026_benchmarks/benchmarks/tiny/1.0/"
    for tool in ("milp", *FAKES):
        rows = rows_of(exported.results / tool / "2026_tiny")
        assert [row[:4] for row in rows] == [
            ["tiny", place + one.onnx, place + one.vnnlib, "0.0"] for one in manifest.instances
        ]
        assert {row[4] for row in rows} <= {"sat", "unsat", "unknown", "error", "timeout"}
    folder = exported.benchmarks / "benchmarks" / "tiny" / "1.0"
    assert (folder / "instances.csv").read_text().splitlines() == [
        f"{one.onnx},{one.vnnlib},30" for one in manifest.instances
    ]
    source = exported.project / "instances" / "tiny" / "1-s0"
    for one in manifest.instances:
        assert (folder / one.onnx).read_bytes() == (source / one.onnx).read_bytes()
        assert (folder / f"{one.vnnlib}.gz").read_bytes() == (source / f"{one.vnnlib}.gz").read_bytes()


def refused(project: Path, *arguments: str) -> str:
    done = salver(project, "export", *arguments, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done
    return done.stderr


def test_bad_input_leaves_nothing(exported: Exported) -> None:
    project = exported.project
    assert "did you mean vnncomp2026?" in refused(project, "scored", "--to", "vnncomp2025", "new")
    assert "results: exists already" in refused(project, "scored", "results")
    assert "sets: exists already" in refused(project, "scored", "new", "--benchmarks", "sets")
    assert "does not exist" in refused(project, "scored", "no/such")
    assert "did you mean scored?" in refused(project, "scord", "new")
    cut = project / "reports" / "cut"
    shutil.copytree(project / "reports" / "scored", cut)
    lines = (cut / "events.jsonl").read_text().splitlines(keepends=True)
    (cut / "events.jsonl").write_text("".join(lines[:5]))
    assert "is unfinished (5 of 28 jobs)" in refused(project, "cut", "new")
    shutil.rmtree(cut)
    assert not [path for path in project.iterdir() if path.name in ("new", "no") or "partial" in path.name]


def test_of_repetitions_the_one_that_the_leaderboard_counts_is_exported(exported: Exported) -> None:
    project = exported.project
    run = ("run", "tiny", "--solvers", "shy,liar", "--repetitions", "2", "--limit", "2", "--name", "twice")
    salver(project, *run)
    done = salver(project, "export", "twice", "twice")
    assert (
        "Every job was run 2 times. The row is that of the repetition that the leaderboard counts"
        in done.stdout
    )
    assert "A part of the set was run: 2 of 4 instances: --limit 2." in done.stdout
    assert "liar: 2 rows, 0 counterexamples" in done.stdout
    assert len(rows_of(project / "twice" / "shy" / "2026_tiny")) == 2
