"""The stage that puts solvers on an instance set: choose, plan, execute, store."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field

from salver import __version__
from salver.confined import read_inside, write_inside
from salver.errors import SalverError, file_error
from salver.execute.engines import Engine, run_jobs
from salver.execute.plan import Plan, plan
from salver.execute.recording import RunSummary
from salver.execute.supervision import runexec
from salver.machine import machine_facts
from salver.model import Instance, Limits, Manifest, Record, RunRecord
from salver.plugins import choose, runners, why_unavailable
from salver.runner import Runner
from salver.suite import Suite

MOST_MANIFEST_BYTES = 16 << 20


class RunOptions(Record):
    """What the user asked for. `solvers` None means every available one; `timeout` None the suite's;
    `cores` None what each solver asks for."""

    solvers: tuple[str, ...] | None = None
    timeout: float | None = None
    device: str = "cpu"
    workers: int = Field(default=2, ge=1)
    cores: int | None = Field(default=None, ge=1)
    repetitions: int = Field(default=1, ge=1)
    resume: bool = False
    proofs: bool = False
    engine: Engine = Engine()


class RunManifest(Record):
    """`manifest.json` of a run: everything needed to judge and compare it later."""

    suite: str
    title: str
    version: str
    seed: int
    recipe: str
    salver: str
    instance_set: str
    solvers: dict[str, str]
    unavailable: dict[str, str]
    options: RunOptions
    started: str
    machine: dict[str, Any]


class Chosen(Record, arbitrary_types_allowed=True):
    """Runners that will be used, and the reasons why others will not."""

    runners: dict[str, Runner]
    unavailable: dict[str, str]


def choose_runners(options: RunOptions) -> Chosen:
    """The named solvers, or every available one that runs by default.

    Raises:
        SalverError: an unknown name, a named solver that is not available, an unknown device, none left.
    """
    if options.device not in ("cpu", "cuda"):
        raise SalverError(f"no device {options.device!r}", "--device", "choose cpu or cuda")
    if options.device == "cuda" and options.engine.is_here:
        _require_cuda()
    known = runners()
    names = options.solvers or tuple(name for name, kind in known.items() if kind.by_default)
    chosen, unavailable = {}, {}
    for name in names:
        kind = choose(name, known, "solver")
        runner = kind(_device(kind, options), options.proofs)
        reason = why_unavailable(runner)
        if reason is None:
            chosen[name] = runner
        elif options.solvers:
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


def limits_for(options: RunOptions, suite: Suite) -> Callable[[Instance, Runner], Limits]:
    """Limits of one job: the instance's timeout unless the user gave one.

    Raises:
        SalverError: a timeout that is not positive, more cores than there are.
    """
    if options.timeout is not None and not options.timeout > 0:
        raise SalverError(f"timeout {options.timeout:g} is not positive", "--timeout", "give seconds above 0")
    if options.engine.is_here and options.cores is not None and options.cores > options.workers:
        what = f"a run of {options.cores} cores does not fit {options.workers} workers"
        raise SalverError(what, "--cores", "lower it or raise --workers: a run takes one worker per core")

    def limits(instance: Instance, runner: Runner) -> Limits:
        return Limits(
            wall_s=options.timeout or instance.timeout,
            memory_mb=max(suite.memory_mb, runner.resources.memory_mb),
            cores=options.cores or runner.resources.cpus,
        )

    return limits


def run_suite(
    suite: Suite,
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
    limits = limits_for(options, suite)
    chosen = choose_runners(options)
    planned = plan(manifest.instances, chosen.runners, limits, options.repetitions, suite.seed)
    run_dir = _run_folder(root, suite, manifest, options)
    relative = os.path.relpath(set_path, root)
    _write_manifest(run_dir, suite, manifest, relative, options, chosen)
    on_plan(planned)
    with _no_empty_folder(run_dir):
        summary = run_jobs(
            options.engine,
            planned,
            chosen.runners,
            set_path,
            run_dir,
            options.workers,
            options.device,
            on_finish,
        )
    return run_dir, summary


def read_run(run_dir: Path) -> RunManifest:
    """Reads a run's manifest.

    Raises:
        SalverError: the folder is no run, or its manifest is malformed.
    """
    path = run_dir / "manifest.json"
    try:
        return RunManifest.model_validate_json(read_inside(run_dir, path.name, MOST_MANIFEST_BYTES))
    except FileNotFoundError:
        raise SalverError("is no run", str(run_dir), "see the folders below reports/") from None
    except OSError as error:
        raise SalverError(f"cannot be read ({error.strerror})", str(path), "run again") from error
    except ValueError as error:
        raise SalverError(f"is malformed ({str(error).splitlines()[0]})", str(path), "run again") from error


def find_run(root: Path, name: str) -> Path:
    """A run's folder from its name, its path, or `latest`.

    Raises:
        SalverError: there is none.
    """
    if name == "latest":
        found = [path for path in (root / "reports").glob("*/manifest.json") if path.is_file()]
        found.sort(key=lambda path: path.lstat().st_mtime)
        if not found:
            raise SalverError("there is no run yet", "reports/", "run `salver run SUITE` first")
        return found[-1].parent
    for candidate in (root / "reports" / name, Path(name)):
        if (candidate / "manifest.json").is_file():
            return candidate
    raise SalverError("no run of that name", name, "see the folders below reports/, or say `latest`")


def _run_folder(root: Path, suite: Suite, manifest: Manifest, options: RunOptions) -> Path:
    reports = root / "reports"
    if options.resume:
        for path in sorted(reports.glob(f"{suite.key}-*/manifest.json"), reverse=True):
            earlier = read_run(path.parent)
            if earlier.suite == suite.key and earlier.recipe == manifest.recipe:
                return path.parent
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    folder = reports / f"{suite.key}-{stamp}"
    number = 1
    while folder.exists():
        number += 1
        folder = reports / f"{suite.key}-{stamp}-{number}"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise file_error(error, folder, "made") from error
    return folder


@contextlib.contextmanager
def _no_empty_folder(run_dir: Path) -> Iterator[None]:
    """Takes the folder of a run away that was refused before anything of it was stored.

    `latest` would mean it otherwise.
    """
    try:
        yield
    except SalverError:
        manifest, events = run_dir / "manifest.json", run_dir / "events.jsonl"
        stored = events.exists() and events.stat().st_size > 0
        if not stored and set(run_dir.iterdir()) <= {manifest, events}:
            events.unlink(missing_ok=True)
            manifest.unlink()
            run_dir.rmdir()
        raise


def _backend_facts(options: RunOptions) -> dict[str, str]:
    return {"limits": runexec.version()} if options.engine.backend == "runexec" else {}


def _write_manifest(
    run_dir: Path, suite: Suite, manifest: Manifest, set_path: str, options: RunOptions, chosen: Chosen
) -> None:
    versions = {name: runner.version() for name, runner in chosen.runners.items()}
    if (run_dir / "manifest.json").exists():
        versions = {**read_run(run_dir).solvers, **versions}
    record = RunManifest(
        suite=suite.key,
        title=suite.title,
        version=suite.version,
        seed=suite.seed,
        recipe=manifest.recipe,
        salver=__version__,
        instance_set=set_path,
        solvers=versions,
        unavailable=chosen.unavailable,
        options=options,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine_facts() | _backend_facts(options),
    )
    text = json.dumps(record.model_dump(mode="json"), indent=1) + "\n"
    write_inside(run_dir, "manifest.json", text)
