"""Reports against golden files, and the page as a reader meets it.

Set UPDATE_GOLDEN=1 to write the golden files anew; read the difference before committing it.
"""

from __future__ import annotations

import csv
import json
import os
import re
import xml.etree.ElementTree as ET
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from salver.core import files
from salver.core.errors import SalverError
from salver.core.files import write_atomically
from salver.families.instance import Instance
from salver.judge.judgement import JudgedRun
from salver.judge.scoring import RESULT_COLUMNS, leaderboard, results_frame
from salver.judge.verdicts import judge
from salver.report.figures.background import drawn_here
from salver.report.page.material import Material
from salver.report.page.render import DOCS, ICON
from salver.report.results import report_json, results, with_totals
from salver.report.tables import board_table, results_csv
from salver.report.write import shown_in_plots, write_report
from salver.run.loaded import coverage
from salver.runners.answers import Claim
from tests.builders.judged_runs import INSTANCES, ODD, judged, loaded, reported, run

GOLDEN = Path(__file__).parent.parent / "golden" / "report"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reported(loaded(tmp_path_factory.mktemp("run"), judged())).parent


def matches_golden(name: str, text: str) -> bool:
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    return text == path.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "leaderboard.md",
        "leaderboard.csv",
        "leaderboard.tex",
        "shares.csv",
        "shares.tex",
        "disagreements.csv",
        "results/falsify.csv",
    ],
)
def test_text_files_are_the_golden_ones(report: Path, name: str) -> None:
    assert matches_golden(name.replace("/", "-"), (report / name).read_text())


def test_terminal_table_is_the_golden_one() -> None:
    board = leaderboard(results_frame(judged()), by="family")
    assert matches_golden(
        "terminal.txt", board_table(with_totals(board, "vnncomp2026"), short=True).text() + "\n"
    )


def test_terminal_table_of_nothing_is_its_headings() -> None:
    assert "PAR-2" in board_table(leaderboard(results_frame([])), short=True).text()


def test_parquet_holds_every_run_unrounded(report: Path) -> None:
    frame = pd.read_parquet(report / "results.parquet")
    assert list(frame.columns) == list(RESULT_COLUMNS)
    assert len(frame) == 9
    assert frame.loc[0, "wall_s"] == 0.123456


FACTS = ["network", "question", "method", "epsilon", "delta", "k", "dataset", "index", "label", "expected"]


def test_results_hold_the_facts_of_their_instances(report: Path) -> None:
    frames = [pd.read_parquet(report / "results.parquet"), pd.read_csv(report / "results.csv")]
    for frame in frames:
        assert list(frame.columns) == list(RESULT_COLUMNS)
        box, rank = (frame[frame["instance"] == name].iloc[0] for name in ("box-2", "rank-1"))
        assert box[FACTS].fillna("none").tolist() == [
            "n", "same-map", "gradient", 0.5, 0.5, "none", "d", 0, 0, "sat",
        ]  # fmt: skip
        assert rank[["question", "k", "expected"]].tolist() == ["top-k-changes", 1, "unknown"]
        assert pd.isna(rank["delta"])


def test_results_of_instances_without_facts_have_none() -> None:
    frame = results_frame(judged())
    assert frame[["epsilon", "delta", "k", "index", "label"]].isna().all(axis=None)
    assert (frame[["network", "question", "method", "dataset", "expected"]] == "").all(axis=None)
    row = next(csv.DictReader(results_csv(frame).splitlines()))
    assert {name: row[name] for name in FACTS} == dict.fromkeys(FACTS, "")


def test_six_columns_are_one_file_per_solver_without_collisions(report: Path) -> None:
    written = sorted(path.name for path in (report / "results").iterdir())
    assert len(written) == 3
    assert {"crown.csv", "falsify.csv"} < set(written)
    for path in (report / "results").iterdir():
        with path.open(newline="") as stream:
            rows = list(csv.reader(stream))
        assert [row[2] for row in rows] == [INSTANCES[key].vnnlib for key in sorted(INSTANCES)]
        assert all(len(row) == 6 for row in rows)


@pytest.mark.slow
def test_six_columns_hold_one_row_per_instance(tmp_path: Path) -> None:
    records = [run("crown", "box-1", Claim.UNSAT, 1.0 + n, n) for n in (2, 0, 1)]
    judgements = judge(records, INSTANCES, {})
    runs = [JudgedRun(run=r, judgement=j) for r, j in zip(records, judgements, strict=True)]
    reported(loaded(tmp_path, runs))
    assert (tmp_path / "results/crown.csv").read_text() == (
        "quick,onnx/vg_box.onnx,vnnlib/box-1.vnnlib,0.0,unsat,2.000\n"
        "quick,onnx/vg_box.onnx,vnnlib/box-2.vnnlib,0.0,not_run,0.000\n"
        "quick,onnx/topk_rank.onnx,vnnlib/rank-1.vnnlib,0.0,not_run,0.000\n"
    )


@pytest.mark.slow
def test_the_report_of_an_unfinished_run_says_so_first_and_has_no_score(tmp_path: Path) -> None:
    records = [run("crown", "box-1", Claim.UNSAT, 1.0), run("falsify", "box-1", Claim.UNKNOWN, 1.0)]
    judgements = judge(records, INSTANCES, {})
    runs = [JudgedRun(run=r, judgement=j) for r, j in zip(records, judgements, strict=True)]
    covered = coverage(records, len(INSTANCES), ("crown", "falsify", "milp"))
    assert covered.fraction == "2 of 9 jobs"
    found = results(loaded(tmp_path, runs, coverage=covered))
    drawing = partial(drawn_here, shown_in_plots(found.frame))
    page = write_report(found, Material(), drawing)
    told = json.loads(report_json(found, page))
    assert next(iter(told)) == "unfinished"
    assert told["unfinished"] == "2 of 9 jobs"
    assert (
        {row["score"] for row in told["leaderboard"]}
        == {row["par2"] for row in told["leaderboard"]}
        == {None}
    )
    assert "2 of 9 jobs" in (tmp_path / "leaderboard.md").read_text().splitlines()[2]
    rows = list(csv.DictReader((tmp_path / "leaderboard.csv").read_text().splitlines()))
    assert {(row["unfinished"], row["score"], row["par2"]) for row in rows} == {("2 of 9 jobs", "", "")}
    latex = (tmp_path / "leaderboard.tex").read_text()
    assert "2 of 9 jobs" in latex.splitlines()[0]
    assert r"\caption{Unfinished run: 2 of 9 jobs" in latex
    for plot in drawing():
        assert "2 of 9 jobs" in (tmp_path / f"{plot.name}.tex").read_text().splitlines()[0]
    text = page.read_text()
    assert text.index("2 of 9 jobs") < text.index("<h1>")
    assert pd.read_parquet(tmp_path / "results.parquet").attrs == {"unfinished": "2 of 9 jobs"}
    assert (tmp_path / "results/crown.csv").read_text().count("not_run") == 2
    assert "100.0" not in board_table(with_totals(found.by_suite, "vnncomp2026"), short=True).text()


def test_plots_are_whole(report: Path) -> None:
    for name in ("cactus", "scatter"):
        assert ET.parse(report / f"{name}.svg").getroot().tag.endswith("svg")
        assert (report / f"{name}.pdf").read_bytes().startswith(b"%PDF-")


def test_every_solver_that_solved_something_is_in_the_cactus_plot(report: Path) -> None:
    texts = {element.text for element in ET.parse(report / "cactus.svg").getroot().iter() if element.text}
    assert {"crown", "falsify", "virtual best"} <= texts
    assert ODD not in texts


class _Page(HTMLParser):
    """What a browser would fetch, run and announce."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.unscoped = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.tags.append(tag)
        self.unscoped += tag == "th" and "scope" not in values
        if tag == "a":
            self.links.append(values.get("href") or "")
        elif "src" in values or tag in ("iframe", "object") or (tag == "link" and values["href"] != ICON):
            self.loads.append(tag)
        if tag not in ("meta", "input", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_is_well_formed_self_contained_and_accessible(report: Path) -> None:
    text = (report / "index.html").read_text()
    page = _Page(text)
    assert page.open == []
    assert page.loads == []
    assert not re.search(r"url\(|@import|fetch\(", text)
    assert page.unscoped == 0
    assert page.tags.count("table") == page.tags.count("caption")
    assert text.count('role="img"') == 2
    assert "prefers-color-scheme: dark" in text
    assert 'fill="black"' not in text


def test_page_escapes_what_comes_from_outside(report: Path) -> None:
    text = (report / "index.html").read_text()
    assert ODD not in text
    assert "&lt;i&gt;50% &amp; a_b|c&lt;/i&gt;" in text
    assert "alert(1)</script>" not in text
    assert _Page(text).tags.count("script") == 4


def test_page_names_wrong_answers_and_disagreements(report: Path) -> None:
    text = (report / "index.html").read_text()
    wrong = text.split('<section id="wrong">')[1].split("</section>")[0]
    assert wrong.count("<tr>") == 3
    assert "rank-1" in wrong
    assert "crown" in wrong
    assert "X lies 0.5 outside the box" in wrong
    clash = text.split('<section id="disagreements">')[1].split("</section>")[0]
    assert re.findall(r'<th scope="row"><a href="#instance/([^"]*)"', clash) == ["box-1", "rank-1"]


def test_page_links_logs_as_relative_paths(report: Path) -> None:
    text = (report / "index.html").read_text()
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text)[1])
    logs = data["logs"].split("\n")
    assert logs.count("./logs/box-1%200/") == 3
    assert all(link.startswith("./") for link in logs)
    assert {link for link in _Page(text).links if not link.startswith("#")} == {DOCS}


@pytest.mark.slow
def test_nothing_solved_leaves_no_plot_from_before(tmp_path: Path) -> None:
    reported(loaded(tmp_path, judged()))
    lost = [j for j in judged() if j.run.solver == "falsify" and j.run.instance == "box-1"]
    index = reported(loaded(tmp_path, lost))
    assert "nothing to draw" in index.read_text()
    assert not list(tmp_path.glob("cactus.*"))
    assert not list(tmp_path.glob("scatter.*"))
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["falsify.csv"]


@pytest.mark.parametrize(
    ("runs", "instances", "profile", "complaint"),
    [
        ([], INSTANCES, "count", "no results"),
        (judged(), {}, "count", "not in the set"),
        (judged(), INSTANCES, "goodness", "no scoring profile"),
    ],
)
def test_what_cannot_be_reported_writes_nothing(
    tmp_path: Path, runs: list[JudgedRun], instances: dict[str, Instance], profile: str, complaint: str
) -> None:
    with pytest.raises(SalverError, match=complaint):
        reported(loaded(tmp_path, runs, instances), profile=profile)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.md"
    write_atomically(path, "old\n")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(SalverError, match="No space left on device"):
        write_atomically(path, "new\n")
    assert [p.name for p in tmp_path.iterdir()] == ["table.md"]
    assert path.read_text() == "old\n"


def test_half_a_folder_does_not_stand_in_the_way_of_the_next_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    def tried() -> None:
        with monkeypatch.context() as patched, files.whole_folder(tmp_path / "out"):
            write_atomically(tmp_path / "out" / "first", "done\n")
            patched.setattr(files.os, "fsync", full)
            write_atomically(tmp_path / "out" / "second", "new\n")

    with pytest.raises(SalverError, match="free some space"):
        tried()
    assert list(tmp_path.iterdir()) == []
    with files.whole_folder(tmp_path / "out"):
        write_atomically(tmp_path / "out" / "first", "done\n")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["first"]


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SalverError) as caught:
        write_atomically(tmp_path / "file" / "table.md", "new\n")
    assert "cannot be written" in str(caught.value)
