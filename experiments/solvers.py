"""`salver bench solvers`: published tables, the scaling set and the lifted sets, each paired in one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from experiments import tables
from experiments.bench_report import BenchReport
from experiments.measured import measured
from experiments.suite_runs import conditions, instance_set, judged_suite
from salver.core.errors import SalverError
from salver.core.plugins import choose
from salver.families.suite import read_suite
from salver.judge.judged import Judged
from salver.report.figures import plots
from salver.run.loaded import LoadedRun
from salver.run.manifest import RunOptions
from salver.run.run_suite import choose_runners

Table = Callable[[pd.DataFrame], pd.DataFrame]


@dataclass(frozen=True)
class BenchPart:
    """One part of the bench: a suite, the conditions of its run, and what is made of the results.

    Attributes:
        title: heading in the report.
        suite: key of the suite.
        tables: file stem -> what makes the table.
        cores: cores of each run, at most the workers there are.
        solvers: default choice; None for all that are available.
        compares: whether solvers are compared: adds the aim and the plots.
    """

    title: str
    suite: str
    tables: Mapping[str, Table]
    cores: int = 1
    solvers: tuple[str, ...] | None = None
    compares: bool = False


PARTS: dict[str, BenchPart] = {
    "paper-1": BenchPart("Table 1 of the paper: BanditNet", "paper-1", {"paper-1": tables.bandit_table}),
    "paper-2": BenchPart(
        "Table 2 of the paper: mnist-net_256x2, any target class",
        "paper-2",
        {"paper-2": tables.mnist_table},
        cores=2,
        solvers=("hybrid",),
    ),
    "scaling": BenchPart(
        "Scaling: 10 to 1,000 unstable neurons",
        "scaling",
        {
            "scaling": tables.summary_table,
            "scaling-by-size": tables.size_table,
            "scaling-by-condition": tables.condition_table,
        },
        compares=True,
    ),
    "lifted": BenchPart(
        "Lifted sets: networks of VNN-COMP",
        "lifted",
        {"lifted": tables.summary_table, "lifted-by-network": tables.network_table},
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
    report, found = BenchReport("salver bench solvers", say), False
    for name, part in chosen.items():
        try:
            suite = read_suite(part.suite)
            made = instance_set(suite, root, data_dir)
        except SalverError as error:
            if asked:
                raise
            say(f"{name}: skipped: {error}")
            continue
        own = {
            "solvers": options.solvers or part.solvers,
            "cores": options.cores or min(part.cores, options.workers),
        }
        _tell(part, judged_suite(suite, made, root, options.model_copy(update=own)), report)
        found = True
    if not found:
        raise SalverError("no table could be made", "bench solvers", "see the lines above")
    return report.write(root / "reports", "bench", "bench")


def _tell(part: BenchPart, judged: Judged[LoadedRun], report: BenchReport) -> None:
    """Adds a part's section to the report."""
    frame = measured(judged)
    report.heading(part.title)
    report.text(conditions(judged.run), printed=False)
    for stem, table in part.tables.items():
        report.table(table(frame), stem)
    if part.compares:
        report.text(f"Aim: {tables.aim(frame)}.")
        for plot in (plots.cactus(frame), plots.time_against(frame, "unstable", "unstable neurons")):
            if plot is not None:
                report.files |= {f"{plot.name}.svg": plot.svg, f"{plot.name}.pdf": plot.pdf}
