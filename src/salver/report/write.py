"""Writes a run's report: every table, every plot and the page."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from salver.errors import SalverError
from salver.files import write_atomically
from salver.judge.naming import doubts
from salver.judge.proofs import CheckedProof
from salver.judge.scoring import find_profile, intervals, leaderboard, results_frame
from salver.judge.verdicts import disagreements
from salver.model import Instance, JudgedRun
from salver.report import plots, tables
from salver.report.material import Material
from salver.report.page import render_page
from salver.report.page_data import visible
from salver.report.proofs import proofs_frame


def write_report(
    run_dir: Path,
    judged: Sequence[JudgedRun],
    manifest_facts: Mapping[str, Any],
    instances: Mapping[str, Instance],
    profile: str = "vnncomp2026",
    proofs: Mapping[str, CheckedProof] | None = None,
    material: Material | None = None,
) -> Path:
    """Writes the report into a run's folder, each file atomically and the page last.

    Files: `results.parquet`, `leaderboard.{csv,md,tex}`, `results/<solver>.csv` in VNN-COMP's six
    columns, `disagreements.csv`, `proofs.csv`, the plots `cactus`, `scatter` and `time-neurons` as svg,
    pdf and tex, `index.html`. All of it is made in memory first, so a run that cannot be reported leaves an
    older report as it was.

    Args:
        run_dir: folder of the run.
        judged: its judged runs.
        manifest_facts: what the run was made with (suite, seed, versions, machine), for the overview.
        instances: the instances by id, for the file names in the six-column results.
        profile: scoring profile, key of `scoring.PROFILES`.
        proofs: checked proofs by run key.
        material: what the page shows of single runs and instances beside the results.

    Returns:
        Path of `index.html`.

    Raises:
        SalverError: no results, an unknown profile or instance, a file that cannot be written.
    """
    if not judged:
        raise SalverError("there are no results to report", str(run_dir), "run some solvers first")
    _check_instances(judged, instances)
    title = find_profile(profile).title
    frame = results_frame(judged)
    boards = [tables.with_totals(leaderboard(frame, profile, by), profile) for by in ("suite", "family")]
    found = disagreements(judged)
    shares = intervals(frame)
    material = material or Material()
    sized = frame.assign(neurons=[material.sizes.get(key, -1) for key in frame["instance_id"]])
    shown = _plots(sized)
    page = render_page(
        sized,
        boards=boards,
        intervals=shares,
        found=found,
        doubts=doubts(judged),
        plots=shown,
        facts=manifest_facts,
        profile_title=title,
        instances=instances,
        material=material,
    )
    files: dict[str, str | bytes] = {
        "results.parquet": _parquet(frame),
        "leaderboard.csv": tables.leaderboard_csv(boards),
        "leaderboard.md": tables.leaderboard_markdown(boards, title, shares),
        "leaderboard.tex": tables.leaderboard_latex(boards, title),
        "disagreements.csv": tables.disagreements_csv(found),
        "proofs.csv": proofs_frame(judged, proofs or {}).to_csv(index=False, lineterminator="\n"),
        **_vnncomp_files(frame, instances),
        **{f"{plot.name}.svg": plot.svg for plot in shown},
        **{f"{plot.name}.pdf": plot.pdf for plot in shown},
        **{f"{plot.name}.tex": plot.tex for plot in shown},
    }
    for name, content in files.items():
        write_atomically(run_dir / name, content)
    _remove_outdated(run_dir, files)
    write_atomically(run_dir / "index.html", page)
    return run_dir / "index.html"


def _plots(frame: pd.DataFrame) -> list[plots.Plot]:
    # Only what the plots need: every other column would be copied by each step of theirs.
    needed = [*plots.COLUMNS, "neurons"]
    named = frame[needed].assign(solver=[visible(name) for name in frame["solver"]])
    made = (plots.cactus(named), plots.scatter(named), plots.time_against(named, "neurons", "ReLU neurons"))
    return [plot for plot in made if plot is not None]


def _check_instances(judged: Sequence[JudgedRun], instances: Mapping[str, Instance]) -> None:
    for run in judged:
        if run.run.instance_id not in instances:
            raise SalverError(
                f"the results name an instance {run.run.instance} that is not in the set",
                run.run.suite,
                "report them with the instance set they were made from",
            )


def _vnncomp_files(frame: pd.DataFrame, instances: Mapping[str, Instance]) -> dict[str, str | bytes]:
    return {
        f"results/{quote(str(solver), safe=' ')}.csv": tables.vnncomp_csv(runs, instances)
        for solver, runs in frame.groupby("solver", sort=True)
    }


def _remove_outdated(run_dir: Path, current: Collection[str]) -> None:
    """A plot or a solver that this report does not have must not stay behind from an earlier one."""
    names = ("cactus", "scatter", "time-neurons")
    drawn = [run_dir / f"{name}.{suffix}" for name in names for suffix in ("svg", "pdf", "tex")]
    for path in [*drawn, *(run_dir / "results").glob("*.csv")]:
        if path.relative_to(run_dir).as_posix() not in current:
            path.unlink(missing_ok=True)


def _parquet(frame: pd.DataFrame) -> bytes:
    stream = io.BytesIO()
    frame.to_parquet(stream, engine="pyarrow", index=False)
    return stream.getvalue()
