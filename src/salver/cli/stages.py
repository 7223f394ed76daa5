"""What `generate`, `run`, `report` and `all` do between the command line and the stages."""

from __future__ import annotations

import os
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
    Pin,
    Pools,
    Proofs,
    Repetitions,
    Resume,
    Scheduler,
    Solvers,
    SuiteOrSet,
    Timeout,
    WarmUp,
    Workers,
    listed,
)
from salver.core.errors import SalverError, counted

if TYPE_CHECKING:
    from salver.families.instance import Manifest
    from salver.families.provenance import Made
    from salver.families.suite import AnySuite, Suite
    from salver.run.events import RunSummary
    from salver.run.manifest import RunOptions


@dataclass(frozen=True)
class RunArguments:
    """The command line of a run."""

    suite: SuiteOrSet
    solvers: Solvers = None
    timeout: Timeout = None
    device: Device = None
    workers: Workers = CORES
    cores: Cores = None
    repetitions: Repetitions = None
    resume: Resume = False
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
    made: Made | None
    is_new: bool


def generated_set(
    suite: Suite, data_dir: Path | None, *, force: bool = False, output: Path | None = None
) -> GeneratedSet:
    """Makes a suite's instance set where it is not up to date, with progress on stderr.

    Raises:
        SalverError: `output` is there already, or the set cannot be made.
    """
    from salver.cli.progress import counting
    from salver.core.files import refuse_missing_parent
    from salver.core.project import project_root
    from salver.families.generate import generate, up_to_date
    from salver.families.instance_set import set_folder
    from salver.families.provenance import read_made

    root = project_root()
    if output is not None:
        refuse_missing_parent(output)
        if os.path.lexists(output):
            raise SalverError("exists already", str(output), "choose another folder")
    manifest = None if force or output else up_to_date(suite, root, data_dir)
    folder, is_new = output or set_folder(root, suite), manifest is None
    if manifest is None:
        with counting(f"generating {suite.key}") as progress:
            folder, manifest = generate(suite, root, data_dir, progress, folder)
    return GeneratedSet(folder, manifest, read_made(folder), is_new)


def print_generated(suite: Suite, found: GeneratedSet) -> None:
    """One line about a set, and its notes."""
    made = found.made
    state = "generated" if found.is_new or made is None else f"up to date, made {made.date}"
    instances = counted(len(found.manifest.instances), "instance")
    print(f"{suite.key}: {instances} in {os.path.relpath(found.folder)}: {state}")
    for note in made.notes if made else ():
        print(f"note: {note}")


def run_stage(arguments: RunArguments, as_json: bool) -> None:
    """Puts solvers on a suite, whose instance set is made first where it is missing.

    Raises:
        SalverError: something asked for cannot be done, or the run stopped before all jobs were run.
    """
    from salver.cli.progress import finishing
    from salver.core.project import project_root
    from salver.families.generate import up_to_date
    from salver.families.given import is_given
    from salver.families.suite import read_suite
    from salver.run.engines import check_engine
    from salver.run.run_suite import choose_runners, limits_for, resumable, run_suite

    if is_given(arguments.suite):
        return given_stage(arguments, as_json)
    chosen, root, options = read_suite(arguments.suite), project_root(), arguments.options()
    check_engine(options.engine, options.device, arguments.workers)
    limits_for(options, chosen)
    choose_runners(options)
    if arguments.resume and up_to_date(chosen, root) is None:
        # A resume that is refused leaves the set as it is.
        resumable(root, chosen, None)
    with kept_for_json(as_json):
        found = generated_set(chosen, arguments.data_dir)
        print_generated(chosen, found)
        with finishing() as (on_plan, on_finish):
            run_dir, summary = run_suite(
                chosen, found.manifest, found.folder, root, options, on_plan, on_finish
            )
        _print_run(chosen, run_dir, summary)
    _end_run(chosen, run_dir, summary, as_json)
    return None


def given_stage(arguments: RunArguments, as_json: bool) -> None:
    """Puts solvers on an instance set that was named: a folder, an archive or a list of instances.

    Raises:
        SalverError: it is no set, and as `run_stage`.
    """
    from salver.cli.progress import finishing
    from salver.core.project import project_root
    from salver.families.given import opened
    from salver.run.engines import check_engine
    from salver.run.run_suite import choose_runners, run_suite

    root, options = project_root(), arguments.options()
    check_engine(options.engine, options.device, arguments.workers)
    choose_runners(options)
    with kept_for_json(as_json), opened(Path(arguments.suite)) as found, finishing() as (on_plan, on_finish):
        suite, manifest = found.suite, found.manifest
        print(f"{suite.key}: {counted(len(manifest.instances), 'instance')} in {arguments.suite}")
        run_dir, summary = run_suite(suite, manifest, found.folder, root, options, on_plan, on_finish)
        _print_run(suite, run_dir, summary)
    _end_run(suite, run_dir, summary, as_json)


def _print_run(suite: AnySuite, run_dir: Path, summary: RunSummary) -> None:
    counts = f"{counted(summary.finished, 'job')} run, {summary.skipped} done before, {summary.left} left"
    print(f"{suite.key}: {counts}; stored in {os.path.relpath(run_dir)}")


def _end_run(suite: AnySuite, run_dir: Path, summary: RunSummary, as_json: bool) -> None:
    """Raises: SalverError: the run stopped before all jobs were run."""
    if as_json:
        told = {"finished": summary.finished, "skipped": summary.skipped, "left": summary.left}
        print_json({"suite": suite.key, "folder": str(run_dir), **told})
    if summary.left:
        raise SalverError("stopped before all jobs were run", suite.key, "go on with --resume")


def report_stage(name: str, profile: str, as_json: bool) -> None:
    """Judges a stored run and writes its report.

    Raises:
        SalverError: there is no such run or profile, or it cannot be judged.
    """
    from salver.core.project import project_root
    from salver.judge.scoring import find_profile
    from salver.report.results import proofs_sentence, report_json
    from salver.report.tables import terminal_table
    from salver.report.write import report_run
    from salver.run.loaded import changed_sources
    from salver.run.manifest import find_run

    find_profile(profile)
    root = project_root()
    folder = find_run(root, name)
    found, page = report_run(folder, root, profile)
    if as_json:
        print(report_json(found, page))
        return
    for line in found.run.notices:
        print(f"{line}\n")
    print(terminal_table(found.by_suite))
    for line in found.wrong:
        print(f"wrong: {line}")
    for line in found.doubts:
        print(f"doubt about the instance: {line}")
    for item in found.disagreements:
        print(f"disagreement: {item.instance}: {item.detail}")
    if told := proofs_sentence(found):
        print(told)
    for path in changed_sources(folder, root):
        print(f"note: {os.path.relpath(path)} is another file than when these instances were made from it")
    print(f"report: {os.path.relpath(page)}")
