"""`salver bench solvers`: published tables, the scaling set and the lifted sets, each paired in one run."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from experiments import tables
from experiments.measured import measured_run
from experiments.revision import commit
from experiments.text import as_text
from salver.cli.progress import counting, finishing
from salver.core.errors import SalverError
from salver.core.files import fresh_folder, write_atomically
from salver.core.plugins import choose
from salver.families.generate import generate, up_to_date
from salver.families.instance import Manifest
from salver.families.instance_set import set_folder
from salver.families.suite import Suite, read_suite
from salver.report.figures import plots
from salver.run.manifest import RunManifest, RunOptions
from salver.run.run_suite import choose_runners, run_suite

Tables = Callable[[pd.DataFrame], dict[str, pd.DataFrame]]


@dataclass(frozen=True)
class Part:
    """One part of the bench: a suite, the conditions of its run, and what is made of the results.

    Attributes:
        title: heading in the report.
        suite: key of the suite.
        cores: cores of each run, at most the workers there are.
        solvers: default choice; None for all that are available.
        tables: file stem -> table.
        compares: whether solvers are compared: adds the aim and the plots.
    """

    title: str
    suite: str
    cores: int
    solvers: tuple[str, ...] | None
    tables: Tables
    compares: bool = False


PARTS: dict[str, Part] = {
    "paper-1": Part(
        "Table 1 of the paper: BanditNet",
        "paper-1",
        1,
        None,
        lambda frame: {"paper-1": tables.bandit_table(frame)},
    ),
    "paper-2": Part(
        "Table 2 of the paper: mnist-net_256x2, any target class",
        "paper-2",
        2,
        ("hybrid",),
        lambda frame: {"paper-2": tables.mnist_table(frame)},
    ),
    "scaling": Part(
        "Scaling: 10 to 1,000 unstable neurons",
        "scaling",
        1,
        None,
        lambda frame: {
            "scaling": tables.summary_table(frame),
            "scaling-by-size": tables.size_table(frame),
            "scaling-by-condition": tables.condition_table(frame),
        },
        compares=True,
    ),
    "lifted": Part(
        "Lifted sets: networks of VNN-COMP",
        "lifted",
        1,
        None,
        lambda frame: {
            "lifted": tables.summary_table(frame),
            "lifted-by-network": tables.network_table(frame),
        },
        compares=True,
    ),
}


def bench_solvers(
    root: Path,
    options: RunOptions,
    asked: tuple[str, ...] | None = None,
    data_dir: Path | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Runs the chosen parts one after another and writes their tables; returns the folder written.

    A part whose data are missing is skipped with one line, unless it was asked for by name.

    Args:
        options: of every run; `solvers` and `cores` None mean each part's own choice.
        asked: keys of `PARTS`; None for all.

    Raises:
        SalverError: an unknown part, a part asked for by name that cannot be run, or none that can.
    """
    chosen = {name: choose(name, PARTS, "table") for name in asked or PARTS}
    choose_runners(options)
    sections, files = [], dict[str, str | bytes]()
    for name, part in chosen.items():
        try:
            suite, folder, instances = instance_set(part, root, data_dir)
        except SalverError as error:
            if asked:
                raise
            say(f"{name}: skipped: {error}")
            continue
        run_dir = _run(part, suite, instances, folder, root, options)
        section, written = _report(part, *measured_run(run_dir, root), run_dir, say)
        sections.append(section)
        files |= written
    if not sections:
        raise SalverError("no table could be made", "bench solvers", "see the lines above")
    folder = fresh_folder(root / "reports", "bench")
    for file, content in files.items():
        write_atomically(folder / file, content)
    write_atomically(folder / "bench.md", "\n".join(["# salver bench solvers\n", *sections]))
    say(f"report: {os.path.relpath(folder / 'bench.md')}")
    return folder


def _run(
    part: Part, suite: Suite, instances: Manifest, folder: Path, root: Path, options: RunOptions
) -> Path:
    """Runs the part's solvers; returns the run's folder."""
    own = {
        "solvers": options.solvers or part.solvers,
        "cores": options.cores or min(part.cores, options.workers),
    }
    with finishing() as (on_plan, on_finish):
        run_dir, summary = run_suite(
            suite, instances, folder, root, options.model_copy(update=own), on_plan, on_finish
        )
    if summary.left:
        raise SalverError("stopped before all jobs were run", part.suite, "go on with --resume")
    return run_dir


def _report(
    part: Part, manifest: RunManifest, frame: pd.DataFrame, run_dir: Path, say: Callable[[str], None]
) -> tuple[str, dict[str, str | bytes]]:
    """Prints the part's tables; returns its section of the report, and its files by name."""
    made = part.tables(frame)
    remark = f"Aim: {tables.aim(frame)}." if part.compares else ""
    say(f"\n{part.title}")
    for table in made.values():
        say(as_text(table, "plain"))
    if remark:
        say(remark)
    files: dict[str, str | bytes] = {f"{stem}.csv": table.to_csv(index=False) for stem, table in made.items()}
    if part.compares:
        files |= _drawings(frame)
    heading = f"## {part.title}\n\n{_conditions(manifest, frame, run_dir)}\n"
    texts = [as_text(table, "github") for table in made.values()]
    return "\n".join([heading, *texts, f"{remark}\n" if remark else ""]), files


def instance_set(part: Part, root: Path, data_dir: Path | None) -> tuple[Suite, Path, Manifest]:
    suite = read_suite(part.suite)
    manifest = up_to_date(suite, root, data_dir)
    if manifest is not None:
        return suite, set_folder(root, suite), manifest
    with counting(f"generating {suite.key}") as progress:
        return suite, *generate(suite, root, data_dir, progress)


def _drawings(frame: pd.DataFrame) -> dict[str, str | bytes]:
    drawn = (plots.cactus(frame), plots.time_against(frame, "unstable", "unstable neurons"))
    files: dict[str, str | bytes] = {}
    for plot in drawn:
        if plot is not None:
            files |= {f"{plot.name}.svg": plot.svg, f"{plot.name}.pdf": plot.pdf}
    return files


def _conditions(manifest: RunManifest, frame: pd.DataFrame, run_dir: Path) -> str:
    """One sentence each about code, day, machine and solvers, so that the figures can be measured again."""
    machine = manifest.machine
    limits = sorted({f"{limit:g}" for limit in frame["limit_s"]}, key=float)
    versions = ", ".join(f"{name} {version}" for name, version in sorted(manifest.solvers.items()))
    absent = "".join(f" Not available: {name} ({why})." for name, why in manifest.unavailable.items())
    return (
        f"Commit {commit()}, {manifest.started[:10]}. "
        f"{machine.processor}, {machine.cores} cores; {manifest.options.cores} core(s) and "
        f"{' or '.join(limits)} s a run, {manifest.options.workers} slot(s). Solvers: {versions}.{absent} "
        f"Run: reports/{run_dir.name}."
    )
