"""Runs of suites that benches are made of: the set is made where it is missing, run, and judged."""

from __future__ import annotations

from pathlib import Path

from experiments.bench_report import commit
from salver.cli.progress import counting, finishing
from salver.core.errors import SalverError
from salver.families.generate import generate, up_to_date
from salver.families.instance import Manifest
from salver.families.instance_set import set_folder
from salver.families.suite import Suite
from salver.judge.judged import Judged, judge_run
from salver.run.loaded import LoadedRun, load_run
from salver.run.manifest import RunOptions
from salver.run.run_suite import run_suite


def instance_set(
    suite: Suite, root: Path, data_dir: Path | None, *, anew: bool = False
) -> tuple[Path, Manifest]:
    """The folder and the manifest of a suite's set; it is made where it is not up to date, or `anew`.

    Raises:
        SalverError: data are missing.
    """
    manifest = None if anew else up_to_date(suite, root, data_dir)
    if manifest is not None:
        return set_folder(root, suite), manifest
    with counting(f"generating {suite.key}") as progress:
        return generate(suite, root, data_dir, progress)


def judged_suite(
    suite: Suite, made: tuple[Path, Manifest], root: Path, options: RunOptions
) -> Judged[LoadedRun]:
    """Runs solvers on a set from `instance_set`, and judges what they say.

    Raises:
        SalverError: the run was stopped, or cannot be judged.
    """
    folder, manifest = made
    with finishing() as (on_plan, on_finish):
        run_dir, summary = run_suite(suite, manifest, folder, root, options, on_plan, on_finish)
    if summary.left:
        raise SalverError("stopped before all jobs were run", suite.key, "go on with --resume")
    return judge_run(load_run(run_dir, root))


def conditions(run: LoadedRun) -> str:
    """Code, day, machine, limits and solvers of a run, so that its figures can be measured again."""
    made, options = run.manifest, run.manifest.options
    limits = " or ".join(f"{limit:g}" for limit in sorted({record.limit_s for record in run.records}))
    versions = ", ".join(f"{name} {version}" for name, version in sorted(made.solvers.items()))
    absent = "".join(f" Not available: {name} ({why})." for name, why in made.unavailable.items())
    return (
        f"Commit {commit()}, {made.started[:10]}. {made.machine.processor}, {made.machine.cores} cores; "
        f"{options.cores or 1} core(s) and {limits} s a run, {options.workers} slot(s). "
        f"Solvers: {versions}.{absent} Run: reports/{run.folder.name}."
    )
