"""Replays kept beside a run: what is read again, what is replayed anew, and that nothing stale stands."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest

from experiments.load.synthetic import synthetic_run
from salver.explain.gradient import Gradient
from salver.families.instance import Instance
from salver.families.instance_set import read_manifest
from salver.judge import replays
from salver.judge.judgement import WitnessVerdict
from salver.judge.loaded import LoadedSet, StoredRun
from salver.judge.replays import STORE, replay_witnesses
from salver.judge.witness import Replay
from salver.run.events import EventLog
from salver.runners.answers import Claim, RunRecord


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("load")
    synthetic_run(root, 40, points=4)
    return root


class Run:
    """A copy of the synthetic run that counts what is replayed."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.set_path, self.run_dir = root / "instances/load/1-s0", root / "reports/load-40"
        self.records: list[RunRecord] = list(EventLog(self.run_dir / "events.jsonl").records())
        manifest = read_manifest(self.set_path)
        self.instances: dict[str, Instance] = {one.id: one for one in manifest.instances}
        self.replayed = 0
        original = replays.replay

        def counted(*arguments: object) -> Replay:
            self.replayed += 1
            return original(*arguments)

        monkeypatch.setattr(replays, "replay", counted)

    def replay(self) -> dict[str, Replay]:
        self.replayed = 0
        return replay_witnesses(
            StoredRun(self.run_dir, LoadedSet(self.set_path, self.instances), self.records)
        )

    @property
    def first(self) -> RunRecord:
        return next(record for record in self.records if record.claim is Claim.SAT)


@pytest.fixture
def run(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    shutil.copytree(made, tmp_path / "root", symlinks=True)
    return Run(tmp_path / "root", monkeypatch)


@pytest.mark.slow
def test_a_second_report_replays_nothing_and_finds_the_same(run: Run) -> None:
    found = run.replay()
    assert set(found) == {record.key for record in run.records if record.claim is Claim.SAT}
    assert {one.verdict for one in found.values()} == {WitnessVerdict.CORRECT}
    assert run.replayed == len({record.witness for record in run.records if record.witness})
    assert run.replay() == found
    assert run.replayed == 0


@pytest.mark.slow
def test_another_witness_is_replayed_anew(run: Run) -> None:
    run.replay()
    path = run.run_dir / str(run.first.witness)
    path.write_text(path.read_text().replace("(X_0 ", "(X_0 7"))
    assert run.replay()[run.first.key].verdict is WitnessVerdict.INVALID
    assert run.replayed == 1


@pytest.mark.parametrize("part", ["onnx", "vnnlib", "network"])
def test_another_file_of_the_instance_is_looked_at_anew(run: Run, part: str) -> None:
    run.replay()
    instance = run.instances[run.first.instance_id]
    if part == "vnnlib":
        path = run.set_path / f"{instance.vnnlib}.gz"
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + b"; a comment\n", mtime=0))
    else:
        path = run.set_path / getattr(instance, part)
        path.write_bytes(path.read_bytes() + b"\x12\x01x")
    run.replay()
    assert run.replayed > 0


def test_other_facts_are_looked_at_anew(run: Run) -> None:
    run.replay()
    key = run.first.instance_id
    other = run.instances[key].facts.model_copy(update={"explanation": Gradient(logit=0, minus=1)})
    run.instances[key] = run.instances[key].model_copy(update={"facts": other})
    assert run.replay()[run.first.key].gradient == "differs"


@pytest.mark.slow
def test_other_code_does_not_take_over_what_was_found(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.replay()
    monkeypatch.setattr(replays, "judging_code", lambda: b"changed")
    run.replay()
    assert run.replayed > 0


def test_what_could_not_be_checked_is_tried_again(run: Run) -> None:
    path = run.run_dir / str(run.first.witness)
    kept = path.read_text()
    path.unlink()
    assert run.replay()[run.first.key].verdict is WitnessVerdict.UNCHECKABLE
    path.write_text(kept)
    assert run.replay()[run.first.key].verdict is WitnessVerdict.CORRECT


@pytest.mark.slow
@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', '{"a": ["s", "fine", "none", ""]}', "null"])
def test_a_damaged_store_is_no_store(run: Run, text: str) -> None:
    found = run.replay()
    (run.run_dir / STORE).write_text(text)
    assert run.replay() == found
    assert len(json.loads((run.run_dir / STORE).read_text())["found"]) == len(found)
    assert run.replayed > 0


@pytest.mark.slow
def test_a_store_from_elsewhere_is_not_believed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SALVER_CACHE", str(tmp_path / "theirs"))
    path = run.run_dir / str(run.first.witness)
    kept = path.read_text()
    run.replay()
    path.write_text(kept.replace("(X_0 ", "(X_0 7"))
    forged = run.replay()[run.first.key]
    assert forged.verdict is WitnessVerdict.INVALID
    store = run.run_dir / STORE
    store.write_text(store.read_text().replace(f'"{forged.verdict}"', '"correct"'))
    assert run.replay()[run.first.key].verdict is WitnessVerdict.INVALID
    # What they say with their own seal does not stand either.
    monkeypatch.setenv("SALVER_CACHE", str(tmp_path / "ours"))
    assert run.replay()[run.first.key].verdict is WitnessVerdict.INVALID
    assert run.replayed > 0
    run.replay()
    assert run.replayed == 0


def test_the_form_of_before_is_not_believed(run: Run) -> None:
    found = run.replay()
    store = run.run_dir / STORE
    store.write_text(json.dumps(json.loads(store.read_text())["found"]))
    assert run.replay() == found
    assert run.replayed > 0


def test_where_no_secret_can_be_kept_nothing_is_stored(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SALVER_CACHE", str(tmp_path / "file"))
    found = run.replay()
    assert not (run.run_dir / STORE).exists()
    assert run.replay() == found
    assert run.replayed > 0
