"""A part of a suite: generated, run under a name, gone on with, listed and reported, and each says so."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from salver.families.instance_set import read_manifest
from tests.builders.command_line import Called, salver
from tests.builders.tiny_suite import tiny_suite
from tests.fake_solvers.project import Fake, fake_project

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("parts")
    fake_project(root, root / "pids", {"says": Fake("unknown"), "late": Fake("unknown")})
    (root / "generators").rmdir()
    (root / "generators").symlink_to(ROOT / "generators")
    (root / "benchmarks" / "tiny.toml").write_text(tiny_suite(2, [0.3, 0.5], [0.5, 1.1], enumerated=False))
    part = ("--only", "*-e0.5-*", "--limit", "3", "--name", "part", "--solvers", "says")
    (root / "said").write_text(salver(root, "all", "tiny", *part).stdout)
    return root


def names(folder: Path) -> list[str]:
    return [one.name for one in read_manifest(folder).instances]


WHOLE = "instances/tiny/1-s0"


def test_a_selected_run_says_so_everywhere(project: Path) -> None:
    chosen = [name for name in names(project / WHOLE) if "-e0.5-" in name][:3]
    said = f"3 of {len(names(project / WHOLE))} instances: --only '*-e0.5-*' --limit 3"
    folder = project / "reports" / "part"
    assert f"A part of the set was run: {said}." in (project / "said").read_text()
    results = pd.read_parquet(folder / "results.parquet")
    assert sorted(results["instance"]) == sorted(chosen)
    for name in ("leaderboard.md", "leaderboard.tex"):
        assert said in (folder / name).read_text()
    assert "3 of 8 instances: --only &#39;*-e0.5-*&#39; --limit 3" in (folder / "index.html").read_text()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["planned"]["selection"] == "--only '*-e0.5-*' --limit 3"
    assert manifest["options"]["selection"]["only"] == ["*-e0.5-*"]
    kept = {path.name.removesuffix(".vnnlib.gz") for path in (folder / "set" / "vnnlib").iterdir()}
    assert kept == set(chosen)


def test_a_resume_takes_the_same_part(project: Path) -> None:
    again = salver(project, "run", "tiny", "--name", "part", "--resume")
    assert "0 jobs run, 3 done before, 0 left; stored in reports/part (part: --only" in again.stdout
    refused = salver(project, "run", "tiny", "--name", "part", "--resume", "--limit", "1", check=False)
    assert refused.returncode == 2
    assert "selection --only '*-e0.5-*' --limit 3, now --limit 1" in refused.stderr


def refused(project: Path, *arguments: str) -> str:
    done: Called = salver(project, *arguments, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done
    return done.stderr


def test_a_misspelt_run_is_not_gone_on_with(project: Path) -> None:
    before = sorted((project / "reports").iterdir())
    line = refused(project, "run", "tiny", "--name", "prat", "--resume")
    assert "--name prat: there is no run of that name to go on with; did you mean part?" in line
    assert sorted((project / "reports").iterdir()) == before


def test_names_of_runs(project: Path) -> None:
    run, before = ("run", "tiny", "--limit", "1", "--name"), sorted((project / "reports").iterdir())
    assert "reports/part is there already" in refused(project, *run, "part")
    for hostile in ("../part", ".part", "a/b", "-x", "a b", "x" * 200):
        assert "cannot name a run" in refused(project, *run, hostile)
    assert "means the last run" in refused(project, *run, "latest")
    assert "did you mean part?" in refused(project, "report", "prt")
    assert sorted((project / "reports").iterdir()) == before


def test_runs_are_listed(project: Path) -> None:
    found = {one["name"]: one for one in json.loads(salver(project, "runs", "--json").stdout)}
    assert [found["part"][key] for key in ("suite", "done", "jobs", "solvers")] == ["tiny", 3, 3, ["says"]]
    table = salver(project, "runs").stdout.splitlines()
    assert ["part", "tiny"] in [line.split()[:2] for line in table]
    broken = project / "reports" / "broken"
    broken.mkdir()
    (broken / "manifest.json").write_text("{}")
    done = salver(project, "runs")
    assert "reports/broken/manifest.json: is malformed" in done.stderr
    assert done.stdout.splitlines() == table
    (broken / "manifest.json").unlink()
    broken.rmdir()


def test_a_part_of_a_report_leaves_the_report_of_the_run(project: Path, tmp_path: Path) -> None:
    folder = project / "reports" / "part"
    before = {path.name: path.read_bytes() for path in folder.glob("*.*")}
    done = salver(project, "report", "part", "--limit", "1")
    assert "A part of the run is reported: 1 of 3 instances: --limit 1." in done.stdout
    assert "not written, since it is not of one whole run" in done.stdout
    assert {path.name: path.read_bytes() for path in folder.glob("*.*")} == before
    salver(project, "report", "part", "--limit", "1", "-o", str(tmp_path / "one"))
    assert len(pd.read_parquet(tmp_path / "one" / "results.parquet")) == 1
    assert "exists already" in refused(project, "report", "part", "-o", str(tmp_path / "one"))
    assert "no instance has a name like" in refused(project, "report", "part", "--only", "nothing")


def test_shards_of_a_run_are_together_the_suite(project: Path) -> None:
    ran: list[str] = []
    for shard in ("1/3", "2/3", "3/3"):
        name = f"shard-{shard[0]}"
        salver(project, "run", "tiny", "--shard", shard, "--name", name, "--solvers", "says")
        events = (project / "reports" / name / "events.jsonl").read_text().splitlines()
        ran += [json.loads(line)["instance"] for line in events]
    assert sorted(ran) == sorted(names(project / WHOLE))
    shards = [f"shard-{number}" for number in (1, 2, 3)]
    some = json.loads(salver(project, "report", *shards[:2], "--json").stdout)
    assert some["jobs"] == {"done": 6, "planned": 6}
    assert some["report"] is None
    assert "A part of the set was run: 6 of 8 instances." in some["notices"]
    salver(project, "run", "tiny", "--solvers", "late", "--timeout", "2", "--name", "later")
    done = salver(project, "report", *shards, "later", "-o", "together")
    assert "Runs reported together: shard-1 (load " in done.stdout
    assert "The limits differ: late 2 s, says 5 s." in done.stdout
    assert "A part of" not in done.stdout
    frame = pd.read_parquet(project / "together" / "results.parquet")
    assert frame.groupby("solver").size().to_dict() == {"late": 8, "says": 8}
    assert all((project / "together" / logs).is_dir() for logs in frame["logs"])
    unfinished = json.loads(salver(project, "report", "shard-1", "later", "--json").stdout)
    assert unfinished["unfinished"] == "11 of 16 jobs"


def test_runs_that_are_not_reported_together(project: Path) -> None:
    (project / "benchmarks" / "other.toml").write_text(tiny_suite(1, [0.3], [0.5], enumerated=False))
    salver(project, "run", "other", "--name", "other", "--solvers", "says")
    assert "is of another instance set than part" in refused(project, "report", "part", "other")
    assert "a run is named twice" in refused(project, "report", "part", "part")
    salver(project, "run", "tiny", "--solvers", "says", "--limit", "6", "--name", "again")
    assert "part, again: says has two results on" in refused(project, "report", "part", "again")


def test_a_part_is_generated_into_a_folder_of_its_own(project: Path, tmp_path: Path) -> None:
    assert "name a folder for it with --output" in refused(project, "generate", "tiny", "--limit", "2")
    made = salver(project, "generate", "tiny", "--only", "*-e0.3-*", "-o", str(tmp_path / "some"))
    manifest = read_manifest(tmp_path / "some")
    assert names(tmp_path / "some") == [name for name in names(project / WHOLE) if "-e0.3-" in name]
    assert manifest.title == "tiny (part: --only '*-e0.3-*')"
    assert manifest.recipe != read_manifest(project / WHOLE).recipe
    assert "4 instances" in made.stdout
    nothing = refused(project, "generate", "tiny", "--only", "nothing", "-o", str(tmp_path / "none"))
    assert "no instance has a name like 'nothing'" in nothing
    assert "did you mean vg_box?" in refused(
        project, "generate", "tiny", "--family", "vg_bx", "-o", str(tmp_path / "none")
    )
    assert not (tmp_path / "none").exists()
