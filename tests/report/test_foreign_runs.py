"""Folders of runs as somebody else may send them: nothing outside is read, written or removed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.load.synthetic import synthetic_run
from salver.core.errors import SalverError
from salver.families.instance_set import checksums
from salver.judge.judged import Judged, judge_run
from salver.judge.judgement import JudgedRun, WitnessVerdict
from salver.report.page.material import gather
from salver.run.events import EventLog, Work, recording
from salver.run.job import Folders
from salver.run.kept_set import FOLDER, SUMS
from salver.run.loaded import LoadedRun, load_run
from salver.run.logs import store_logs, store_witness
from salver.run.manifest import find_run, read_run
from salver.run.plan import Plan
from salver.runners.answers import Claim, RunRecord
from salver.supervise.process import lost
from tests.builders import judged_runs
from tests.builders.odd_files import ODD_FILES

RUN = "load-20"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("load")
    synthetic_run(root, 20, points=2)
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A project with one run, and a folder beside it that is nobody's business."""
    shutil.copytree(made, tmp_path / "root", symlinks=True)
    (tmp_path / "outside").mkdir()
    for name in ("a.csv", "index.html", "secret"):
        (tmp_path / "outside" / name).write_text("TOPSECRET")
    return tmp_path / "root"


@pytest.fixture
def run_dir(root: Path) -> Path:
    return root / "reports" / RUN


@pytest.fixture(autouse=True)
def untouched(root: Path) -> object:
    """What lies outside is as it was, whatever a test does; and none of it came into the run's folder."""
    yield
    outside = root.parent / "outside"
    assert {path.name: path.read_text() for path in outside.iterdir()} == dict.fromkeys(
        ("a.csv", "index.html", "secret"), "TOPSECRET"
    )
    for folder, _, files in os.walk(root / "reports"):
        for path in (Path(folder, name) for name in files):
            if path.is_file() and not path.is_symlink() and path.stat().st_size < 1 << 30:
                assert b"TOPSECRET" not in path.read_bytes()


def judged(root: Path, run_dir: Path) -> Judged[LoadedRun]:
    return judge_run(load_run(run_dir, root))


def verdicts(root: Path, run_dir: Path) -> dict[str, JudgedRun]:
    return {one.run.key: one for one in judged(root, run_dir).rows}


def first_sat(run_dir: Path) -> RunRecord:
    return next(r for r in EventLog(run_dir / "events.jsonl").records() if r.claim is Claim.SAT)


@pytest.mark.parametrize("kind", ODD_FILES)
def test_a_witness_that_is_no_file_is_not_read(root: Path, run_dir: Path, kind: str) -> None:
    record = first_sat(run_dir)
    path = run_dir / str(record.witness)
    path.unlink()
    ODD_FILES[kind](path)
    found = verdicts(root, run_dir)[record.key].judgement
    assert found.witness is WitnessVerdict.UNCHECKABLE
    assert "cannot be read" in found.detail


@pytest.mark.parametrize("kind", ODD_FILES)
@pytest.mark.parametrize("name", ["replays.json", "proofs.json"])
def test_a_store_that_is_no_file_is_no_store(root: Path, run_dir: Path, name: str, kind: str) -> None:
    expected = verdicts(root, run_dir)
    (run_dir / name).unlink(missing_ok=True)
    ODD_FILES[kind](run_dir / name)
    assert verdicts(root, run_dir) == expected


@pytest.mark.parametrize("name", ["replays.json", "proofs.json"])
def test_a_deeply_nested_store_is_no_store(root: Path, run_dir: Path, name: str) -> None:
    expected = verdicts(root, run_dir)
    (run_dir / name).write_text("[" * 100_000)
    assert verdicts(root, run_dir) == expected


@pytest.mark.parametrize("kind", ODD_FILES)
def test_a_manifest_that_is_no_file_is_one_line(root: Path, run_dir: Path, kind: str) -> None:
    (run_dir / "manifest.json").unlink()
    ODD_FILES[kind](run_dir / "manifest.json")
    with pytest.raises(SalverError) as caught:
        read_run(run_dir)
    assert len(str(caught.value).splitlines()) == 1
    with contextlib.suppress(SalverError):
        assert find_run(root, "latest") == run_dir


@pytest.mark.parametrize("place", ["/etc", "../outside", "instances/../../outside"])
def test_an_instance_set_outside_the_project_is_refused(root: Path, run_dir: Path, place: str) -> None:
    manifest = json.loads((run_dir / "manifest.json").read_text())
    (run_dir / "manifest.json").write_text(json.dumps(manifest | {"instance_set": place}))
    with pytest.raises(SalverError, match=r"manifest.json: instance_set is a path that leaves its folder"):
        judged(root, run_dir)


def keeping(root: Path, run_dir: Path, listed: str = "") -> Path:
    """The set that the run keeps, whose checksums list one more file."""
    sums = shutil.copytree(root / "instances/load/1-s0", run_dir / FOLDER) / SUMS
    sums.write_text(
        checksums(sums.parent) + (f"{hashlib.sha256().hexdigest()}  {listed}\n" if listed else "")
    )
    manifest = json.loads((run_dir / "manifest.json").read_text())
    kept = {"kept": hashlib.sha256(sums.read_bytes()).hexdigest()}
    (run_dir / "manifest.json").write_text(json.dumps(manifest | kept))
    return run_dir / FOLDER


@pytest.mark.parametrize("kind", ODD_FILES)
def test_a_kept_set_whose_checksums_are_no_file_is_one_line(root: Path, run_dir: Path, kind: str) -> None:
    sums = keeping(root, run_dir) / SUMS
    assert load_run(run_dir, root).instances.folder == sums.parent
    sums.unlink()
    ODD_FILES[kind](sums)
    with pytest.raises(SalverError, match="SHA256SUMS: cannot be read") as caught:
        load_run(run_dir, root)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("kind", ODD_FILES)
def test_a_kept_set_that_lists_what_is_no_file_is_one_line(root: Path, run_dir: Path, kind: str) -> None:
    ODD_FILES[kind](keeping(root, run_dir, "listed") / "listed")
    with pytest.raises(SalverError, match="listed: was changed since the run began"):
        load_run(run_dir, root)


def test_a_kept_set_behind_a_link_is_not_read(root: Path, run_dir: Path) -> None:
    folder = keeping(root, run_dir)
    folder.rename(root.parent / "elsewhere")
    folder.symlink_to(root.parent / "elsewhere")
    with pytest.raises(SalverError, match=r"SHA256SUMS: cannot be read \(behind a link"):
        load_run(run_dir, root)


@pytest.mark.parametrize("kind", ODD_FILES)
def test_logs_that_are_no_files_are_left_out(root: Path, run_dir: Path, kind: str) -> None:
    for name in ("stdout.gz", "stderr.gz", "command.json.gz"):
        (run_dir / "logs/shared" / name).unlink()
        ODD_FILES[kind](run_dir / "logs/shared" / name)
    assert gather(judged(root, run_dir)).texts == {}


def test_logs_behind_a_link_are_left_out(root: Path, run_dir: Path) -> None:
    shutil.move(run_dir / "logs", root.parent / "logs")
    (run_dir / "logs").symlink_to(root.parent / "logs")
    assert gather(judged(root, run_dir)).texts == {}


@pytest.mark.slow
def test_tables_are_neither_written_nor_removed_through_a_link(root: Path, tmp_path: Path) -> None:
    folder = root / "reports/other"
    folder.mkdir()
    (folder / "results").symlink_to(root.parent / "outside")
    with pytest.raises(SalverError, match="results: is a link, not a folder"):
        judged_runs.reported(judged_runs.loaded(folder, judged_runs.judged()))
    assert [path.name for path in folder.iterdir()] == ["results"]


@pytest.mark.slow
def test_a_page_behind_a_link_is_replaced_and_a_folder_of_a_tables_name_stays(root: Path) -> None:
    folder = root / "reports/other"
    (folder / "results/old.csv").mkdir(parents=True)
    (folder / "index.html").symlink_to(root.parent / "outside/index.html")
    (folder / "results/gone.csv").symlink_to(root.parent / "outside/a.csv")
    judged_runs.reported(judged_runs.loaded(folder, judged_runs.judged()))
    assert not (folder / "index.html").is_symlink()
    assert not (folder / "results/gone.csv").is_symlink()
    assert (folder / "results/old.csv").is_dir()


@pytest.mark.parametrize("name", ["logs", "cex"])
def test_a_resumed_run_writes_nothing_through_a_link(root: Path, run_dir: Path, name: str) -> None:
    shutil.rmtree(run_dir / name)
    (run_dir / name).symlink_to(root.parent / "outside")
    with (
        pytest.raises(SalverError, match=f"{name}: is a link, not a folder"),
        recording(Work(Plan([], []), {}, Folders(root, run_dir))),
    ):
        pytest.fail("went on")


def _logs(run_dir: Path) -> None:
    store_logs(run_dir, "key", lost("").model_copy(update={"files": {"out.txt": "x"}}))


@pytest.mark.parametrize(
    ("name", "store"),
    [
        ("logs/key", _logs),
        ("logs/key.partial", _logs),
        ("cex/key.txt", lambda run_dir: store_witness(run_dir, "key", "sat")),
        ("cex/key.txt.partial", lambda run_dir: store_witness(run_dir, "key", "sat")),
    ],
)
def test_a_link_in_the_place_of_what_is_stored_is_replaced(
    root: Path, run_dir: Path, name: str, store: Callable[[Path], object]
) -> None:
    (run_dir / name).symlink_to(root.parent / "outside")
    store(run_dir)
    stored = run_dir / name.removesuffix(".partial")
    assert stored.exists()
    assert not stored.is_symlink()
