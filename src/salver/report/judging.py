"""The stage that judges a run from what is stored, and reports it; no solver is started."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from salver.core.records import lean
from salver.families.instance import Instance
from salver.families.instance_set import read_manifest
from salver.judge.coverage import Coverage, coverage
from salver.judge.judgement import JudgedRun
from salver.judge.proofs import CheckedProof, check_proofs
from salver.judge.replays import replay_witnesses
from salver.judge.scoring import find_profile, results_frame
from salver.judge.settings import told_apart
from salver.judge.verdicts import judge
from salver.report.compared import Side
from salver.report.figures.drawing_beside import Drawing, drawing_beside
from salver.report.page.material import gather, network_sizes
from salver.report.results import Results, results
from salver.report.write import refuse_unreportable, shown_in_plots, write_results
from salver.run.events import EventLog
from salver.run.kept_set import edited_since
from salver.run.run_suite import RunManifest, read_run, set_of
from salver.runners.answers import RunRecord


@dataclass(frozen=True)
class Judged:
    """A run with everything that its reports are made from.

    Attributes:
        run: its manifest.
        set_path: folder of the instance set that it was judged with.
        instances: by id.
        runs: its records with their judgements, in order; solvers under several settings are told apart.
        proofs: checked proofs by key of the run.
        coverage: how many of its jobs have a result.
        notices: what a reader must know beside that, one line each.
    """

    run: RunManifest
    set_path: Path
    instances: dict[str, Instance]
    runs: list[JudgedRun]
    proofs: dict[str, CheckedProof]
    coverage: Coverage
    notices: tuple[str, ...]

    def side(self, name: str) -> Side:
        """What a comparison says of this run."""
        machines = [self.run.machine, *(session.machine for session in self.run.resumed)]
        loads = [str(machine.get("load", "not known")) for machine in machines]
        notices = tuple(filter(None, [self.coverage.sentence, *self.notices]))
        return Side(name, self.run.started, self.run.salver, ", ".join(loads), notices)


def judge_run(run_dir: Path, root: Path) -> tuple[RunManifest, dict[str, Instance], list[JudgedRun]]:
    """The manifest, instances and judged records of a run; see `judge_all`."""
    found = judge_all(run_dir, root)
    return found.run, found.instances, found.runs


def judge_all(run_dir: Path, root: Path) -> Judged:
    """Replays every stored witness not replayed before and judges every record of a run.

    Raises:
        SalverError: no such run; its instance set was changed, or was since generated from another suite
            file; records that cannot be told apart.
    """
    run = read_run(run_dir)
    set_path = set_of(run_dir, root, run)
    manifest = read_manifest(set_path)
    instances = {instance.id: instance for instance in manifest.instances}
    stored = list(EventLog(run_dir / "events.jsonl").records())
    records = told_apart(stored, instances)
    replays = replay_witnesses(records, instances, set_path, run_dir)
    proofs = check_proofs(records, instances, set_path, run_dir)
    judgements = judge(records, instances, replays, proofs)
    judged = [lean(JudgedRun(run=r, judgement=j)) for r, j in zip(records, judgements, strict=True)]
    covered = coverage(records, len(instances), run.solvers, run.options.repetitions)
    notices = [_of_settings(stored, records), _of_edits(run, run_dir, root)]
    return Judged(run, set_path, instances, judged, proofs, covered, tuple(filter(None, notices)))


def _of_settings(stored: Sequence[RunRecord], records: Sequence[RunRecord]) -> str:
    if stored == records:
        return ""
    plain = {record.solver for record in stored}
    names = sorted({record.solver for record in records} - plain)
    return f"Several settings in one run, told apart as: {', '.join(names)}."


def _of_edits(run: RunManifest, run_dir: Path, root: Path) -> str:
    folder = root / run.instance_set
    edited = edited_since(folder, run_dir) if run.kept and folder.is_dir() else []
    if not edited:
        return ""
    more = f" and {len(edited) - 1} more" if edited[1:] else ""
    return (
        f"Changed on disk since the run began: {run.instance_set}/{edited[0]}{more}. "
        "The run was made and judged with its own copy."
    )


@contextlib.contextmanager
def _nothing_collected() -> Iterator[None]:
    """No search for cycles: the records of a large run have none, and would be walked again and again."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        # They stay until the end of a command, so later searches need not walk them either.
        gc.freeze()
        if before:
            gc.enable()


def report_run(run_dir: Path, root: Path, profile: str) -> tuple[Results, Path]:
    """Judges a run and writes its report; returns the results and the page's path.

    Raises:
        SalverError: as `judge_run`; an unknown scoring profile.
    """
    find_profile(profile)
    with _nothing_collected(), drawing_beside() as draw:
        return _report(run_dir, root, profile, draw)


def _report(
    run_dir: Path, root: Path, profile: str, draw: Callable[[pd.DataFrame], Drawing]
) -> tuple[Results, Path]:
    found = judge_all(run_dir, root)
    judged, instances = found.runs, found.instances
    refuse_unreportable(run_dir, judged, instances)
    facts = _facts(found.run)
    frame = results_frame(judged)
    sizes = network_sizes(found.set_path, judged, instances)
    drawing = draw(shown_in_plots(frame, sizes))
    worked_out = results(judged, profile, frame, found.coverage, found.notices)
    worked_out = replace(worked_out, proofs=found.proofs)
    material = gather(run_dir, found.set_path, judged, instances, sizes)
    page = write_results(run_dir, worked_out, facts, instances, found.proofs, material, drawing)
    return worked_out, page


def _facts(run: RunManifest) -> dict[str, Any]:
    """What the page says of how a run was made: its beginning, then every resume."""
    facts = run.model_dump(mode="json", exclude={"recipe", "planned", "kept", "resumed"})
    sessions = run.model_dump(mode="json", include={"resumed"})["resumed"]
    return facts | {f"resume {number}": session for number, session in enumerate(sessions, start=1)}
