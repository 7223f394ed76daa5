"""What `generate`, `run` and `all` do between the command line and the stages."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from salver.cli.json_output import kept_for_json, print_json
from salver.cli.options import (
    CORES,
    Backend,
    Cores,
    DataDir,
    Device,
    EngineName,
    NewName,
    Pin,
    Pools,
    Proofs,
    Repetitions,
    Resume,
    Scheduler,
    SelectionArguments,
    Solvers,
    SuiteOrSet,
    Timeout,
    WarmUp,
    Workers,
    listed,
)
from salver.core.errors import SalverError, StoppedError, counted

if TYPE_CHECKING:
    from salver.families.instance import Manifest
    from salver.families.provenance import Provenance
    from salver.families.selection import Selection
    from salver.families.suite import AnySuite, Suite
    from salver.run.events import RunSummary
    from salver.run.manifest import RunOptions


@dataclass(frozen=True, kw_only=True)
class RunArguments(SelectionArguments):
    """The command line of a run."""

    suite: SuiteOrSet
    solvers: Solvers = None
    timeout: Timeout = None
    device: Device = None
    workers: Workers = CORES
    cores: Cores = None
    repetitions: Repetitions = None
    resume: Resume = False
    name: NewName = None
    proofs: Proofs = False
    pin: Pin = False
    warm_up: WarmUp = False
    backend: Backend = None
    data_dir: DataDir = None
    engine: EngineName = "local"
    scheduler: Scheduler = None
    pools: Pools = None

    def options(self) -> RunOptions:
        """The same as the stage takes it; what is not given is left out: a resume takes it from the run.

        Raises:
            SalverError: a value is not what it may be.
        """
        from salver.core.records import parse_options
        from salver.run.manifest import RunOptions

        engine = {
            "name": self.engine, "scheduler": self.scheduler, "pools": self.pools,
            "pin": self.pin or None, "warm_up": self.warm_up, "backend": self.backend,
        }  # fmt: skip
        given = {
            "solvers": listed(self.solvers, "--solvers"), "timeout": self.timeout, "device": self.device,
            "workers": self.workers, "cores": self.cores, "repetitions": self.repetitions,
            "resume": self.resume, "proofs": self.proofs or None, "engine": _given(engine),
            "name": self.name, "selection": self.selection() if self.selection().text else None,
        }  # fmt: skip
        options: RunOptions = parse_options(RunOptions, _given(given))
        return options


def _given(values: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in values.items() if value is not None}


@dataclass(frozen=True)
class GeneratedSet:
    """An instance set that is up to date, and whether it was made just now."""

    folder: Path
    manifest: Manifest
    made: Provenance | None
    is_new: bool


def generated_set(
    suite: Suite,
    data_dir: Path | None,
    *,
    force: bool = False,
    output: Path | None = None,
    selection: Selection | None = None,
) -> GeneratedSet:
    """Makes a suite's instance set where it is not up to date, with progress on stderr.

    Args:
        selection: the part that is made; a part needs an `output`, since the suite's own set is whole.

    Raises:
        SalverError: `output` is there already, or the set cannot be made.
    """
    from salver.cli.progress import counting
    from salver.core.files import refuse_existing, refuse_missing_parent
    from salver.core.project import project_root
    from salver.families.generate import generate, up_to_date
    from salver.families.instance_set import set_folder
    from salver.families.provenance import read_made
    from salver.families.selection import EVERYTHING

    root, part = project_root(), selection or EVERYTHING
    if part.text and output is None:
        what = f"{part.text} makes a part of a set"
        raise SalverError(what, suite.key, "name a folder for it with --output, or run a part of the set")
    if output is not None:
        refuse_missing_parent(output)
        refuse_existing(output)
    manifest = None if force or output else up_to_date(suite, root, data_dir)
    folder, is_new = output or set_folder(root, suite), manifest is None
    if manifest is None:
        with counting(f"generating {suite.key}") as progress:
            folder, manifest = generate(suite, root, data_dir, progress, folder, part)
    return GeneratedSet(folder, manifest, read_made(folder), is_new)


def print_generated(suite: Suite, found: GeneratedSet) -> None:
    """One line about a set, and its notes."""
    made = found.made
    state = "generated" if found.is_new or made is None else f"up to date, made {made.date}"
    instances = counted(len(found.manifest.instances), "instance")
    print(f"{suite.key}: {instances} in {os.path.relpath(found.folder)}: {state}")
    for note in made.notes if made else ():
        print(f"note: {note}")


def run_stage(arguments: RunArguments, as_json: bool) -> Path:
    """Puts solvers on a suite, whose instance set is made first where it is missing; gives the run's folder.

    Raises:
        SalverError: something asked for cannot be done, or the run stopped before all jobs were run.
    """
    from salver.core.project import project_root
    from salver.families.generate import part_of, up_to_date
    from salver.families.given import is_given
    from salver.families.suite import read_complete_suite
    from salver.run.run_suite import resumable

    if is_given(arguments.suite):
        return given_stage(arguments, as_json)
    chosen, root = read_complete_suite(arguments.suite), project_root()
    options = _checked_options(arguments, chosen)
    if arguments.resume and up_to_date(chosen, root) is None:
        # A resume that is refused leaves the set as it is.
        resumable(root, chosen, None, options.name)
    # A family that the suite has not is known before anything is made.
    part_of(chosen, options.selection)
    with kept_for_json(as_json):
        found = generated_set(chosen, arguments.data_dir)
        print_generated(chosen, found)
        run_dir, summary = _run_set(chosen, found.manifest, found.folder, options)
    _end_run(chosen, run_dir, summary, as_json)
    return run_dir


def _checked_options(arguments: RunArguments, suite: Suite | None = None) -> RunOptions:
    """The options of a run; what cannot be done is refused here, before any instance is made.

    Raises:
        SalverError: an engine, limit, solver or name that cannot be had.
    """
    from salver.core.project import project_root
    from salver.run.engines import check_engine
    from salver.run.manifest import refuse_taken_name
    from salver.run.run_suite import choose_runners, limits_for

    options = arguments.options()
    check_engine(options.engine, options.device, arguments.workers)
    if suite is not None:
        limits_for(options, suite)
    _note_few_cores(options)
    choose_runners(options)
    if options.name is not None and not arguments.resume:
        refuse_taken_name(project_root(), options.name)
    return options


def _note_few_cores(options: RunOptions) -> None:
    """One line on stderr where fewer jobs run side by side than were asked for."""
    from salver.run.engines import slots_here

    here = slots_here(options.workers)
    if options.engine.is_here and here < options.workers:
        told = f"{counted(here, 'job')} at a time, since this machine has {counted(here, 'core')}"
        print(f"salver: --workers: {options.workers} asked for; {told}", file=sys.stderr)


def given_stage(arguments: RunArguments, as_json: bool) -> Path:
    """Puts solvers on an instance set that was named: a folder, an archive or a list of instances.

    Raises:
        SalverError: it is no set, and as `run_stage`.
    """
    from salver.families.given import opened

    options = _checked_options(arguments)
    with kept_for_json(as_json), opened(Path(arguments.suite)) as found:
        suite = found.suite
        print(f"{suite.key}: {counted(len(found.manifest.instances), 'instance')} in {arguments.suite}")
        run_dir, summary = _run_set(suite, found.manifest, found.folder, options)
    _end_run(suite, run_dir, summary, as_json)
    return run_dir


def _run_set(
    suite: AnySuite, manifest: Manifest, folder: Path, options: RunOptions
) -> tuple[Path, RunSummary]:
    """Runs what is selected of a set, with progress; gives the run's folder and what was done."""
    from salver.cli.progress import finishing
    from salver.core.project import project_root
    from salver.families.selection import select
    from salver.run.manifest import read_run
    from salver.run.run_suite import run_suite

    selected = select(manifest.instances, options.selection, suite.key)
    if part := options.selection.part_of(len(selected), len(manifest.instances)):
        print(f"{suite.key}: {part}")
    with finishing() as (on_plan, on_finish):
        run_dir, done = run_suite(suite, manifest, folder, project_root(), options, on_plan, on_finish)
    counts = f"{counted(done.finished, 'job')} run, {done.skipped} done before, {done.left} left"
    # A resume goes on with the part that the run was begun with.
    resumed = "" if options.selection.text else read_run(run_dir).options.selection.text
    of_part = f" (part: {resumed})" if resumed else ""
    print(f"{suite.key}: {counts}; stored in {os.path.relpath(run_dir)}{of_part}")
    return run_dir, done


def _end_run(suite: AnySuite, run_dir: Path, summary: RunSummary, as_json: bool) -> None:
    """Raises: StoppedError: the run was stopped before all jobs were run."""
    if as_json:
        told = {"finished": summary.finished, "skipped": summary.skipped, "left": summary.left}
        print_json({"suite": suite.key, "folder": str(run_dir), **told})
    if summary.left:
        raise StoppedError("stopped before all jobs were run", suite.key, "go on with --resume")
