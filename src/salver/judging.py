"""The stage that judges a run from what is stored, and reports it; no solver is started."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from salver.confined import UnfitFileError, refuse_leaving
from salver.errors import SalverError
from salver.execute.events import EventLog
from salver.instance_set import read_manifest
from salver.judge.proofs import check_proofs, stored_proofs
from salver.judge.replays import replay_witnesses
from salver.judge.scoring import find_profile, results_frame
from salver.judge.verdicts import judge
from salver.model import Instance, JudgedRun, lean
from salver.report.figures.drawing_beside import Drawing, drawing_beside
from salver.report.page.material import gather, network_sizes
from salver.report.results import Results, results
from salver.report.write import refuse_unreportable, shown_in_plots, write_results
from salver.run import RunManifest, read_run


def judge_run(run_dir: Path, root: Path) -> tuple[RunManifest, dict[str, Instance], list[JudgedRun]]:
    """Replays every stored witness not replayed before and judges every record of a run.

    Raises:
        SalverError: no such run, or its instance set was since generated from another suite file.
    """
    run = read_run(run_dir)
    set_path = _set_of(run, root, run_dir)
    manifest = read_manifest(set_path)
    if manifest.recipe != run.recipe:
        mend = f"generate {run.suite} from the suite file of that run, or run again"
        raise SalverError("its instance set has changed since", str(run_dir), mend)
    instances = {instance.id: instance for instance in manifest.instances}
    records = list(EventLog(run_dir / "events.jsonl").records())
    replays = replay_witnesses(records, instances, set_path, run_dir)
    proofs = check_proofs(records, instances, set_path, run_dir)
    judgements = judge(records, instances, replays, proofs)
    judged = [lean(JudgedRun(run=r, judgement=j)) for r, j in zip(records, judgements, strict=True)]
    return run, instances, judged


def _set_of(run: RunManifest, root: Path, run_dir: Path) -> Path:
    """Where a run's instance set lies: the manifest may be somebody else's, so only below the project."""
    try:
        refuse_leaving(run.instance_set)
    except UnfitFileError as error:
        where = str(run_dir / "manifest.json")
        raise SalverError(
            f"instance_set is {error.strerror}", where, "put the set below instances/"
        ) from error
    return root / run.instance_set


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
    run, instances, judged = judge_run(run_dir, root)
    refuse_unreportable(run_dir, judged, instances)
    facts = run.model_dump(mode="json", exclude={"recipe"})
    set_path, frame = root / run.instance_set, results_frame(judged)
    sizes = network_sizes(set_path, judged, instances)
    drawing = draw(shown_in_plots(frame, sizes))
    worked_out = results(judged, profile, frame)
    material = gather(run_dir, set_path, judged, instances, sizes)
    proofs = stored_proofs(run_dir)
    return worked_out, write_results(run_dir, worked_out, facts, instances, proofs, material, drawing)
