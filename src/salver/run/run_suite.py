"""The stage that puts solvers on an instance set: choose, plan, execute, store."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from salver import __version__
from salver.core.command_line import nearest
from salver.core.confined import read_inside, write_inside
from salver.core.errors import SalverError
from salver.core.files import fresh_folder, named_new_folder
from salver.core.plugins import choose
from salver.core.records import Record
from salver.families.instance import Instance, Manifest
from salver.families.instance_set import read_manifest, set_folder
from salver.families.selection import select
from salver.families.suite import AnySuite, GivenSuite
from salver.run.engines import check_engine, run_jobs, slots_here
from salver.run.events import EventLog, RunSummary, Work
from salver.run.job import Folders
from salver.run.kept_set import FOLDER, keep_set, kept_set
from salver.run.machine import this_machine
from salver.run.manifest import (
    MOST_MANIFEST_BYTES,
    RunManifest,
    RunOptions,
    Session,
    named_folder,
    read_run,
    refuse_taken_name,
    run_folders,
    stored_runs,
    write_manifest,
)
from salver.run.plan import Plan, Planned, differences, digest_of, keys_of, plan, solvers_of
from salver.runners.answers import RunRecord
from salver.runners.contract import Runner
from salver.runners.registry import runners, why_unavailable
from salver.supervise import runexec
from salver.supervise.finished import LONGEST_S, Limits

DECIDING = ("solvers", "timeout", "device", "cores", "repetitions", "proofs", "selection")
"""Options that decide what is run. Others, such as the number of workers, may change with a resume."""


class Chosen(Record, arbitrary_types_allowed=True):
    """Runners that will be used, and the reasons why others will not."""

    runners: dict[str, Runner]
    unavailable: dict[str, str]


def choose_runners(options: RunOptions, planned: Collection[str] = ()) -> Chosen:
    """The named solvers, else those that were planned, else every available one that runs by default.

    Raises:
        SalverError: an unknown name, a named solver that is not available, an unknown device, none left.
    """
    if options.device not in ("cpu", "cuda"):
        raise SalverError(f"no device {options.device!r}", "--device", "choose cpu or cuda")
    if options.device == "cuda" and options.engine.is_here:
        _require_cuda()
    known = runners()
    named = options.solvers or tuple(planned)
    names = named or tuple(name for name, kind in known.items() if kind.by_default)
    chosen, unavailable = {}, {}
    for name in names:
        kind = choose(name, known, "solver")
        runner = kind(_device(kind, options), options.proofs)
        reason = why_unavailable(runner)
        if reason is None:
            chosen[name] = runner
        elif named:
            raise SalverError(f"is not available: {reason}", f"solver {name}", "see `salver doctor`")
        else:
            unavailable[name] = reason
    if not chosen:
        raise SalverError("no solver is available", "runners/", "see `salver doctor`")
    return Chosen(runners=chosen, unavailable=unavailable)


def _device(kind: type[Runner], options: RunOptions) -> str:
    """A solver without CUDA code runs on the CPU beside the others unless it was asked for by name."""
    return options.device if options.device in kind.devices or options.solvers else "cpu"


def _require_cuda() -> None:
    import torch

    if not torch.cuda.is_available():
        raise SalverError("torch finds no CUDA device", "--device cuda", "use --device cpu on this machine")


def limits_for(options: RunOptions, suite: AnySuite) -> Callable[[Instance, Runner], Limits]:
    """Limits of one job: the instance's timeout unless the user gave one.

    Raises:
        SalverError: a timeout that is not positive or too long, more cores than workers or than there are.
    """
    if options.timeout is not None and not 0 < options.timeout <= LONGEST_S:
        what = f"{options.timeout:g} is no time that a run can have"
        raise SalverError(what, "--timeout", f"give seconds above 0, {LONGEST_S:g} at most")
    if options.engine.is_here and options.cores is not None and options.cores > options.workers:
        what = f"a run of {options.cores} cores does not fit {options.workers} workers"
        raise SalverError(what, "--cores", "lower it or raise --workers: a run takes one worker per core")
    if options.engine.is_here and (options.cores or 1) > (here := slots_here(options.workers)):
        what = f"a run of {options.cores} cores does not fit this machine"
        raise SalverError(what, "--cores", f"give at most {here}, as many as it has")

    def limits(instance: Instance, runner: Runner) -> Limits:
        return Limits(
            wall_s=options.timeout or min(instance.timeout, LONGEST_S),
            memory_mb=max(suite.memory_mb, runner.resources.memory_mb),
            cores=options.cores or runner.resources.cpus,
        )

    return limits


def run_suite(
    suite: AnySuite,
    manifest: Manifest,
    set_path: Path,
    root: Path,
    options: RunOptions,
    on_plan: Callable[[Plan], None] = lambda _: None,
    on_finish: Callable[[RunRecord], None] = lambda _: None,
) -> tuple[Path, RunSummary]:
    """Runs a suite's instance set and returns the run's folder and what became of its jobs.

    Raises:
        SalverError: as `choose_runners`, `limits_for` and the engine.
    """
    earlier = resumable(root, suite, manifest.recipe, options.name) if options.resume else None
    if earlier is not None:
        return _resume(earlier, suite, options, on_plan, on_finish)
    chosen, planned = _plan(suite, manifest, options)
    check_engine(options.engine, options.device, options.workers)
    run_dir = _new_folder(root, suite, options.name)
    with _no_empty_folder(run_dir):
        kept = keep_set(set_path, run_dir, select(manifest.instances, options.selection, suite.key))
        record = RunManifest(
            suite=suite.key,
            title=suite.title,
            version=suite.version,
            seed=suite.seed,
            recipe=manifest.recipe,
            instance_set=os.path.relpath(set_folder(root, suite), root),
            given=isinstance(suite, GivenSuite),
            solvers={name: runner.version() for name, runner in chosen.runners.items()},
            unavailable=chosen.unavailable,
            planned=_planned(planned, options),
            kept=kept,
            **_session(options),
        )
        write_manifest(run_dir, record)
        on_plan(planned)
        return run_dir, _run(planned, chosen, run_dir, options, on_finish)


def _resume(
    run_dir: Path,
    suite: AnySuite,
    asked: RunOptions,
    on_plan: Callable[[Plan], None],
    on_finish: Callable[[RunRecord], None],
) -> tuple[Path, RunSummary]:
    """Goes on with a run exactly as it was planned; where it is refused, nothing on the disk has changed."""
    run = read_run(run_dir)
    again = "run without --resume"
    if run.planned is None:
        what = "was made by a version that did not keep what was planned, so it cannot be resumed"
        raise SalverError(what, str(run_dir), again)
    options = _as_planned(asked, run)
    manifest = read_manifest(kept_set(run_dir, run.kept))
    chosen, planned = _plan(suite, manifest, options, run.planned.solvers)
    if differing := differences(run.planned, _planned(planned, options)):
        what = f"was planned otherwise: {'; '.join(differing)}"
        raise SalverError(what, str(run_dir), f"give the same options, or none, to resume it, or {again}")
    check_engine(options.engine, options.device, options.workers)
    log = EventLog(run_dir / "events.jsonl")
    with _unchanged_if_refused(run_dir), log:
        done = {one.key for one in log.records()}
        if stray := done - set(keys_of(planned)):
            what = f"holds {len(stray)} records that were not planned"
            raise SalverError(what, str(log.path), again)
        session = Session(done=len(done), **_session(options))
        write_manifest(run_dir, run.model_copy(update={"resumed": (*run.resumed, session)}))
        on_plan(planned)
        return run_dir, _run(planned, chosen, run_dir, options, on_finish, log)


def _as_planned(asked: RunOptions, run: RunManifest) -> RunOptions:
    """The run's options with those given now in their place."""
    given = {name: getattr(asked, name) for name in DECIDING if name in asked.model_fields_set}
    given = {name: value for name, value in given.items() if value is not None}
    how = {
        name: getattr(run.options.engine, name)
        for name in ("backend", "pin")
        if name not in asked.engine.model_fields_set
    }
    engine = asked.engine.model_copy(update=how)
    return run.options.model_copy(
        update={**given, "workers": asked.workers, "engine": engine, "resume": True}
    )


def _plan(
    suite: AnySuite, manifest: Manifest, options: RunOptions, solvers: Collection[str] = ()
) -> tuple[Chosen, Plan]:
    limits = limits_for(options, suite)
    selected = select(manifest.instances, options.selection, suite.key)
    chosen = choose_runners(options, solvers)
    return chosen, plan(selected, chosen.runners, limits, options.repetitions, suite.seed)


def _planned(planned: Plan, options: RunOptions) -> Planned:
    keys = keys_of(planned)
    return Planned(
        jobs=len(keys),
        keys=digest_of(keys),
        solvers=solvers_of(planned),
        timeout=options.timeout,
        repetitions=options.repetitions,
        proofs=options.proofs,
        backend=options.engine.backend,
        pin=options.engine.pin,
        selection=options.selection.text,
    )


def _run(
    planned: Plan,
    chosen: Chosen,
    run_dir: Path,
    options: RunOptions,
    on_finish: Callable[[RunRecord], None],
    log: EventLog | None = None,
) -> RunSummary:
    engine = options.engine
    folders = Folders(run_dir / FOLDER, run_dir, backend=engine.backend)
    work = Work(planned, chosen.runners, folders, on_finish, engine.warm_up, log)
    return run_jobs(engine, work, options.workers, options.device)


def resumable(root: Path, suite: AnySuite, recipe: str | None, name: str | None = None) -> Path | None:
    """Folder of the suite's latest run, for `--resume`; None where there is none yet.

    Args:
        recipe: of the suite's instance set; None where that would have to be generated first.
        name: of the run that is meant; None for the latest.

    Raises:
        SalverError: there are runs, but none of this instance set; the named one is of another suite, or not
            there.
    """
    others, own = [], os.path.relpath(set_folder(root, suite), root)
    for folder, earlier in _latest_first(root, suite, name):
        if earlier.instance_set != own:
            if name is not None:
                raise SalverError(f"is a run of {earlier.suite}", f"--name {name}", "choose another name")
            continue
        if earlier.recipe == recipe:
            return folder
        others.append(folder)
    if others:
        what = "the suite, or what its instances are made from, has changed since this run"
        raise SalverError(what, str(others[0]), "run without --resume, or restore it")
    return None


def _latest_first(root: Path, suite: AnySuite, name: str | None) -> list[tuple[Path, RunManifest]]:
    """The runs that may be gone on with; a broken manifest counts where the folder looks like the suite's."""
    if name is not None:
        folder = named_folder(root, name)
        if not os.path.lexists(folder):
            near = nearest(name, [one.name for one in run_folders(root)])
            hint = (
                f"{near} A new run begins without --resume" if near else "a new run begins without --resume"
            )
            raise SalverError("there is no run of that name to go on with", f"--name {name}", hint)
        return [(folder, read_run(folder))]
    found = []
    for folder, run in stored_runs(root):
        if isinstance(run, RunManifest):
            found.append((folder, run))
        elif folder.name.startswith(f"{suite.folder_name}-"):
            raise run
    return sorted(found, key=lambda one: (one[1].started, one[0].name), reverse=True)


def _new_folder(root: Path, suite: AnySuite, name: str | None) -> Path:
    if name is None:
        return fresh_folder(root / "reports", suite.folder_name)
    refuse_taken_name(root, name)
    return named_new_folder(root / "reports", name)


@contextlib.contextmanager
def _no_empty_folder(run_dir: Path) -> Iterator[None]:
    """Takes the folder of a run away that was refused before anything of it was stored.

    `latest` would mean it otherwise.
    """
    try:
        yield
    except SalverError:
        manifest, events, kept = (run_dir / name for name in ("manifest.json", "events.jsonl", FOLDER))
        stored = events.exists() and events.stat().st_size > 0
        if not stored and set(run_dir.iterdir()) <= {manifest, events, kept}:
            events.unlink(missing_ok=True)
            manifest.unlink(missing_ok=True)
            shutil.rmtree(kept, ignore_errors=True)
            run_dir.rmdir()
        raise


@contextlib.contextmanager
def _unchanged_if_refused(run_dir: Path) -> Iterator[None]:
    """Gives a run its manifest back where its resume was refused before anything was recorded."""
    manifest, events = run_dir / "manifest.json", run_dir / "events.jsonl"
    before = read_inside(run_dir, manifest.name, MOST_MANIFEST_BYTES).decode()
    size = events.stat().st_size if events.exists() else 0
    try:
        yield
    except SalverError:
        after = events.stat().st_size if events.exists() else 0
        if after <= size and manifest.read_text() != before:
            write_inside(run_dir, manifest.name, before)
        raise


def _session(options: RunOptions) -> dict[str, Any]:
    """What the manifest says of a start: when, how, by which salver and on which machine."""
    machine = this_machine()
    if options.engine.backend == "runexec":
        machine = machine.model_copy(update={"limits": runexec.version()})
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "salver": __version__,
        "options": options,
        "machine": machine,
    }
