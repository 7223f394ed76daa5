"""Writes a run's report: every table, every plot and the page."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from salver.core.confined import refuse_other_than_folders, write_inside
from salver.core.errors import SalverError
from salver.core.names import LONGEST
from salver.families.instance import Instance
from salver.judge.judgement import JudgedRun
from salver.judge.proofs import CheckedProof
from salver.judge.scoring import find_profile, intervals
from salver.report import tables
from salver.report.figures.drawing_beside import Drawing, drawn_here
from salver.report.figures.plot import COLUMNS
from salver.report.page.material import Material
from salver.report.page.render import render_page
from salver.report.proofs import proofs_frame
from salver.report.results import Results, results
from salver.report.templating import visible


def write_report(
    run_dir: Path,
    judged: Sequence[JudgedRun],
    manifest_facts: Mapping[str, Any],
    instances: Mapping[str, Instance],
    profile: str = "vnncomp2026",
    proofs: Mapping[str, CheckedProof] | None = None,
    material: Material | None = None,
) -> Path:
    """Works out the results of judged runs and writes their report; see `write_results`.

    Raises:
        SalverError: as `write_results`; an unknown profile.
    """
    refuse_unreportable(run_dir, judged, instances)
    worked_out, material = results(judged, profile), material or Material()
    drawing = partial(drawn_here, shown_in_plots(worked_out.frame, material.sizes))
    return write_results(run_dir, worked_out, manifest_facts, instances, proofs or {}, material, drawing)


def write_results(
    run_dir: Path,
    worked_out: Results,
    manifest_facts: Mapping[str, Any],
    instances: Mapping[str, Instance],
    proofs: Mapping[str, CheckedProof],
    material: Material,
    drawing: Drawing,
) -> Path:
    """Writes the report into a run's folder, each file atomically and the page last.

    Files: `results.parquet`, `leaderboard.{csv,md,tex}`, `results/<solver>.csv` in VNN-COMP's six
    columns, `disagreements.csv`, `proofs.csv`, the plots `cactus`, `scatter` and `time-neurons` as svg,
    pdf and tex, `index.html`. All of it is made in memory first, so a run that cannot be reported leaves an
    older report as it was.

    Args:
        run_dir: folder of the run.
        worked_out: its judged runs and what follows from them.
        manifest_facts: what the run was made with (suite, seed, versions, machine), for the overview.
        instances: the instances by id, for the file names in the six-column results.
        proofs: checked proofs by run key.
        material: what the page shows of single runs and instances beside the results.
        drawing: gives the plots, of the frame from `shown_in_plots`.

    Returns:
        Path of `index.html`.

    Raises:
        SalverError: a file that cannot be written.
    """
    frame, profile = worked_out.frame, worked_out.profile
    title = find_profile(profile).title
    boards = [tables.with_totals(board, profile) for board in (worked_out.by_suite, worked_out.by_family)]
    shares = intervals(frame)
    covered, notices = worked_out.coverage, worked_out.notices
    unfinished = covered.told if covered.unfinished else ""
    files: dict[str, str | bytes] = {
        "results.parquet": _parquet(frame, unfinished),
        "leaderboard.csv": tables.leaderboard_csv(boards, unfinished),
        "leaderboard.md": tables.leaderboard_markdown(boards, title, shares, notices),
        "leaderboard.tex": tables.leaderboard_latex(boards, title, notices),
        "disagreements.csv": tables.disagreements_csv(worked_out.found),
        "proofs.csv": proofs_frame(worked_out.judged, proofs).to_csv(index=False, lineterminator="\n"),
        **_vnncomp_files(frame, instances),
    }
    page = render_page(
        frame.assign(neurons=_neurons(frame, material.sizes)),
        boards=boards,
        intervals=shares,
        found=worked_out.found,
        doubts=worked_out.doubts,
        notices=notices,
        drawing=drawing,
        facts=manifest_facts,
        profile_title=title,
        instances=instances,
        material=material,
    )
    first = f"% {covered.sentence}\n" if unfinished else ""
    for plot in drawing():
        files |= {f"{plot.name}.svg": plot.svg, f"{plot.name}.pdf": plot.pdf}
        files[f"{plot.name}.tex"] = first + plot.tex
    refuse_other_than_folders(run_dir, ["results"])
    for name, content in files.items():
        write_inside(run_dir, name, content)
    _remove_outdated(run_dir, files)
    write_inside(run_dir, "index.html", page)
    return run_dir / "index.html"


def shown_in_plots(frame: pd.DataFrame, sizes: Mapping[str, int]) -> pd.DataFrame:
    """What the plots need of a `results_frame`, with the sizes by instance id; solvers by visible names."""
    solver = frame["solver"].map({name: visible(name) for name in frame["solver"].unique()})
    # Every other column would be copied by each step of theirs.
    return frame[list(COLUMNS)].assign(solver=solver, neurons=_neurons(frame, sizes))


def _neurons(frame: pd.DataFrame, sizes: Mapping[str, int]) -> list[int]:
    return [sizes.get(key, -1) for key in frame["instance_id"].tolist()]


def refuse_unreportable(
    run_dir: Path, judged: Sequence[JudgedRun], instances: Mapping[str, Instance]
) -> None:
    """Raises a SalverError where there are no results, or one of an unknown instance."""
    if not judged:
        raise SalverError("there are no results to report", str(run_dir), "run some solvers first")
    for run in judged:
        if run.run.instance_id not in instances:
            raise SalverError(
                f"the results name an instance {run.run.instance} that is not in the set",
                run.run.suite,
                "report them with the instance set they were made from",
            )


def _vnncomp_files(frame: pd.DataFrame, instances: Mapping[str, Instance]) -> dict[str, str | bytes]:
    return {
        f"results/{_file_name(str(solver))}.csv": tables.vnncomp_csv(runs, instances)
        for solver, runs in frame[list(tables.VNNCOMP_COLUMNS)].groupby("solver", sort=True)
    }


def _file_name(solver: str) -> str:
    """A solver's name as a file's; one that is too long for that by its hash."""
    name = quote(solver, safe=" ")
    return name if len(name) <= LONGEST else hashlib.sha256(name.encode()).hexdigest()


def _remove_outdated(run_dir: Path, current: Collection[str]) -> None:
    """A plot or a solver that this report does not have must not stay behind from an earlier one."""
    names = ("cactus", "scatter", "time-neurons")
    drawn = [run_dir / f"{name}.{suffix}" for name in names for suffix in ("svg", "pdf", "tex")]
    for path in [*drawn, *(run_dir / "results").glob("*.csv")]:
        if path.relative_to(run_dir).as_posix() not in current:
            with contextlib.suppress(OSError):
                path.unlink()


def _parquet(frame: pd.DataFrame, unfinished: str) -> bytes:
    """The table; of an unfinished run its metadata say so (`frame.attrs["unfinished"]`)."""
    stream = io.BytesIO()
    if unfinished:
        frame = frame.copy(deep=False)
        frame.attrs["unfinished"] = unfinished
    frame.to_parquet(stream, engine="pyarrow", index=False)
    return stream.getvalue()
