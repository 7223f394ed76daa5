"""A report: load the run, or several of one set, judge, write every table, every plot and the page."""

from __future__ import annotations

import contextlib
import gc
import io
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from salver.core.confined import refuse_other_than_folders, write_inside
from salver.core.files import whole_folder
from salver.families.instance import Instance
from salver.families.selection import EVERYTHING, Selection
from salver.judge.judged import Judged, judge_records
from salver.judge.scoring import find_profile, results_frame
from salver.report import tables
from salver.report.figures.background import Drawing, background_drawing
from salver.report.figures.plot import COLUMNS
from salver.report.page.material import Material, gather
from salver.report.page.render import render_page
from salver.report.results import Results, results
from salver.report.templating import visible
from salver.run.loaded import LoadedRun, load_run
from salver.run.together import together


def report_runs(
    run_dirs: Sequence[Path],
    root: Path,
    profile: str,
    selection: Selection = EVERYTHING,
    into: Path | None = None,
) -> tuple[Results, Path | None]:
    """Judges a run, or several of one set together, and writes the report.

    Args:
        selection: the part that is reported. So that a run's own report is always of all of it, one of a part
            or of several runs is written only where `into` says so.
        into: another folder, which is made; None for the run's own.

    Returns:
        The results, and the page's path where it was written.

    Raises:
        SalverError: as `load_run`, `together`, `judge_run` and `results`; nothing is selected; a file cannot
            be written.
    """
    find_profile(profile)
    is_written = into is not None or (len(run_dirs) == 1 and not selection.text)
    drawing_beside = background_drawing() if is_written else contextlib.nullcontext()
    with _nothing_collected(), drawing_beside as draw:
        runs = [load_run(run_dir, root) for run_dir in run_dirs]
        folder = into or runs[0].folder
        whole = judge_records(runs[0] if len(runs) == 1 else together(runs, folder), runs)
        owned = _by_run(whole, runs)
        judged = part_of(whole, selection) if selection.text else whole
        frame = _frame(judged, owned, folder)
        if draw is None:
            return results(judged, profile, frame), None
        found = results(judged, profile, frame)
        drawing = draw(shown_in_plots(frame, found.order))
        return found, write_report(found, _material(owned), drawing, into)


def _by_run(whole: Judged[LoadedRun], runs: Sequence[LoadedRun]) -> list[Judged[LoadedRun]]:
    """The rows of a judged run by the runs that it was put together from, which have the files."""
    owned, first = [], 0
    for run in runs:
        rows = whole.rows[first : first + len(run.records)]
        owned.append(Judged(run, rows, whole.proofs))
        first += len(rows)
    return owned


def _frame(judged: Judged[LoadedRun], owned: Sequence[Judged[LoadedRun]], folder: Path) -> pd.DataFrame:
    """The results, with folders of logs as they are seen from that of the report."""
    neurons = {key: size for part in owned for key, size in network_sizes(part).items()}
    frame = results_frame(judged.rows, judged.run.instances.by_id, neurons)
    seen_from = [os.path.relpath(part.run.folder, folder) for part in owned]
    if set(seen_from) == {"."}:
        return frame
    places = {one.run.key: place for part, place in zip(owned, seen_from, strict=True) for one in part.rows}
    logs = zip(frame["key"].tolist(), frame["logs"].tolist(), strict=True)
    return frame.assign(logs=[f"{places[key]}/{path}" if path else "" for key, path in logs])


def _material(owned: Sequence[Judged[LoadedRun]]) -> Material:
    gathered = [gather(part) for part in owned]
    return Material(
        texts={key: text for one in gathered for key, text in one.texts.items()},
        pictures={key: picture for one in gathered for key, picture in one.pictures.items()},
    )


def part_of(judged: Judged[LoadedRun], selection: Selection) -> Judged[LoadedRun]:
    """A judged run as if only the selected instances were there.

    What the judge says of one instance does not depend on others, so nothing is judged again.

    Raises:
        SalverError: nothing is selected.
    """
    run = judged.run.part(selection)
    rows = [one for one in judged.rows if one.run.instance_id in run.instances.by_id]
    return Judged(run, rows, judged.proofs)


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


def network_sizes(judged: Judged[LoadedRun]) -> dict[str, int]:
    """ReLU neurons of the classifier by id of each instance with a result; of those that have some."""
    instances = judged.run.instances
    keys = sorted({one.run.instance_id for one in judged.rows} & set(instances.by_id))
    used = [instances[key] for key in keys]
    of_each = {one.explained_file: one for one in used}
    sizes = {network: one.neurons for network, one in of_each.items()}
    return {one.record.id: size for one in used if (size := sizes[one.explained_file]) > 0}


def write_report(found: Results, material: Material, drawing: Drawing, into: Path | None = None) -> Path:
    """Writes the report into a run's folder, each file atomically and the page last.

    Files: `results.{parquet,csv}`, `leaderboard.{csv,md,tex}`, `results/<solver>.csv` in VNN-COMP's six
    columns, `shares.{csv,tex}`, `disagreements.csv`, `proofs.csv`, the plots `cactus`, `scatter`,
    `time-neurons` and `robustness` as svg, pdf and tex, `index.html`. All of it is made in memory first, so a
    run that cannot be reported leaves an older report as it was.

    Args:
        material: what the page shows of single runs and instances beside the results.
        drawing: gives the plots, of the frame from `shown_in_plots`.
        into: another folder, which is made.

    Returns:
        Path of `index.html`.

    Raises:
        SalverError: a file that cannot be written.
    """
    run, title, notices = found.run, found.profile.title, found.run.notices
    files: dict[str, str | bytes] = {
        "results.parquet": _parquet(found.frame, found.unfinished),
        "results.csv": tables.results_csv(_with_fraction(found)),
        "leaderboard.csv": tables.leaderboard_csv(found.boards, found.unfinished),
        "leaderboard.md": tables.leaderboard_markdown(found.boards, title, found.shares, notices),
        "leaderboard.tex": tables.leaderboard_latex(found.boards, found.profile, notices),
        **_share_files(found),
        "disagreements.csv": tables.disagreements_csv(found.disagreements),
        "proofs.csv": found.proofs.to_csv(index=False, lineterminator="\n"),
        **_vnncomp_files(found.frame, run.instances.by_id),
    }
    target = run.folder if into is None else into
    page = render_page(found, material, drawing)
    first = f"% {run.coverage.sentence}\n" if found.unfinished else ""
    for plot in drawing():
        files |= {f"{plot.name}.svg": plot.svg, f"{plot.name}.pdf": plot.pdf}
        files[f"{plot.name}.tex"] = first + plot.tex
    with contextlib.nullcontext() if into is None else whole_folder(into):
        refuse_other_than_folders(target, ["results"])
        for name, content in files.items():
            write_inside(target, name, content)
        _remove_outdated(target, files)
        write_inside(target, "index.html", page)
    return target / "index.html"


def shown_in_plots(frame: pd.DataFrame, order: Sequence[str] = ()) -> pd.DataFrame:
    """What the plots need of a `results_frame`; solvers by visible names, first met in this order."""
    place = {name: number for number, name in enumerate(order)}
    ordered = frame["solver"].map(lambda name: place.get(name, len(place))).argsort(kind="stable")
    # Every other column would be copied by each step of theirs.
    shown = frame[list(COLUMNS)].iloc[ordered].reset_index(drop=True)
    return shown.assign(
        solver=shown["solver"].map({name: visible(name) for name in shown["solver"].unique()})
    )


def _share_files(found: Results) -> dict[str, str | bytes]:
    if not found.shares_by:
        return {}
    return {
        "shares.csv": tables.shares_csv(found.shares_by, found.unfinished),
        "shares.tex": tables.shares_latex(found.shares_by, found.run.notices),
    }


def _vnncomp_files(frame: pd.DataFrame, instances: Mapping[str, Instance]) -> dict[str, str | bytes]:
    return {
        f"results/{tables.solver_file_name(str(solver))}.csv": tables.vnncomp_csv(runs, instances)
        for solver, runs in frame[list(tables.VNNCOMP_COLUMNS)].groupby("solver", sort=True)
    }


def _remove_outdated(run_dir: Path, current: Collection[str]) -> None:
    """A plot or a solver that this report does not have must not stay behind from an earlier one."""
    names = ("cactus", "scatter", "time-neurons", "robustness")
    drawn = [run_dir / f"{name}.{suffix}" for name in names for suffix in ("svg", "pdf", "tex")]
    grouped = [run_dir / f"shares.{suffix}" for suffix in ("csv", "tex")]
    for path in [*drawn, *grouped, *(run_dir / "results").glob("*.csv")]:
        if path.relative_to(run_dir).as_posix() not in current:
            with contextlib.suppress(OSError):
                path.unlink()


def _with_fraction(found: Results) -> pd.DataFrame:
    """The results; of an unfinished run the first column says so, as a CSV file has no other place for it."""
    frame = found.frame
    return (
        frame.assign(unfinished=found.unfinished)[["unfinished", *frame.columns]]
        if found.unfinished
        else frame
    )


def _parquet(frame: pd.DataFrame, unfinished: str) -> bytes:
    """The table; of an unfinished run its metadata say so (`frame.attrs["unfinished"]`)."""
    stream = io.BytesIO()
    if unfinished:
        frame = frame.copy(deep=False)
        frame.attrs["unfinished"] = unfinished
    frame.to_parquet(stream, engine="pyarrow", index=False)
    return stream.getvalue()
