"""The page of runs that nobody wishes for: long names, many solvers, one, nothing solved, only errors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from salver.families.registry import generators
from salver.judge.judged import Judged
from salver.report.figures import plots
from salver.report.page.data import falsified_means
from salver.report.page.material import Material
from salver.report.results import results
from salver.report.write import write_report
from salver.run.loaded import Coverage, LoadedRun
from salver.runners.answers import Claim
from salver.supervise.finished import Termination
from tests.builders.judged_runs import INSTANCES, judged, loaded, reported
from tests.builders.odd_runs import odd_run

NAMES = ("net-i0", "net-i1", "net-i2")
ARABIC, HEBREW = "\u062d\u0644\u0627\u0644", "\u05e4\u05d5\u05ea\u05e8"


def mixed(number: int) -> Claim | Termination:
    return (Claim.SAT, Claim.UNKNOWN, Termination.WALLTIME)[number % 3]


def undrawn(found: Judged[LoadedRun]) -> str:
    """The page without its plots, which take the longest."""
    return write_report(results(found), Material(), lambda: ()).read_text()


def board(page: str) -> str:
    """The first leaderboard of a page."""
    return page.partition('class="sortable board"')[2].partition("</table>")[0]


@pytest.mark.slow
def test_long_names_leave_the_plots_their_size(tmp_path: Path) -> None:
    long = ["s" * 199 + end for end in "abc"]
    page = reported(odd_run(tmp_path, long, NAMES, mixed)).read_text()
    drawn = re.findall(r'<svg [^>]*viewBox="0 0 ([\d.]+) [^>]*role="img".*?</svg>', page, re.DOTALL)
    assert drawn
    assert all(float(width) < 450 for width in drawn)
    assert all(name in board(page) for name in long)
    # Their ends tell them apart.
    assert {"sssssssa", "sssssssb", "sssssssc"} <= set(re.findall(r"…(\w+)", page))


@pytest.mark.slow
def test_of_many_solvers_the_plots_show_the_first_and_say_so(tmp_path: Path) -> None:
    found = odd_run(tmp_path, [f"solver-{n}" for n in range(60)], NAMES, mixed)
    assert board(undrawn(found)).count("<tr") == 62
    cactus = plots.cactus(results(found).frame)
    assert cactus is not None
    assert cactus.title.endswith("the first 10 of 60 solvers")
    assert len(cactus.rows) == 61


@pytest.mark.slow
def test_one_solver_has_nobody_to_be_compared_with(tmp_path: Path) -> None:
    found = odd_run(tmp_path, ["alone"], NAMES, mixed)
    page, cactus = undrawn(found), plots.cactus(results(found).frame)
    assert cactus is not None
    assert [row[0] for row in cactus.rows] == ["alone"]
    assert "alone" in board(page)
    assert "virtual best" not in board(page)
    assert "fastest on" not in board(page)


@pytest.mark.slow
@pytest.mark.parametrize("ended", [Termination.WALLTIME, Termination.CRASHED])
def test_where_nothing_is_solved_nobody_is_best(tmp_path: Path, ended: Termination) -> None:
    page = reported(odd_run(tmp_path, ["a", "b"], NAMES, lambda _: ended)).read_text()
    assert "No run was solved, so there is nothing to draw." in page
    assert "No run was solved, so there is no answer that could be wrong." in page
    assert 'class="best"' not in page
    assert ("All 6 runs ended in an" in page) == (ended is Termination.CRASHED)


@pytest.mark.slow
def test_an_unfinished_run_has_neither_places_nor_scores(tmp_path: Path) -> None:
    page = undrawn(odd_run(tmp_path, ["a", "b"], NAMES, mixed, Coverage(6, 9)))
    assert "There is no score before the run is finished." in page
    assert not any(word in board(page) for word in (">place<", ">score<", "PAR-2"))
    assert ">place<" in board(undrawn(odd_run(tmp_path, ["a", "b"], NAMES, mixed)))


@pytest.mark.slow
def test_names_of_another_direction_stay_in_their_place(tmp_path: Path) -> None:
    solvers = {"falsify": HEBREW, "crown": ARABIC}
    rows = [
        one.model_copy(
            update={"run": one.run.model_copy(update={"solver": solvers.get(one.run.solver, HEBREW)})}
        )
        for one in judged()
    ]
    page = undrawn(loaded(tmp_path, rows))
    assert re.search(f"wrong answers?</b></a>: <bdi>{HEBREW}</bdi> 1", page)
    assert f"<td><bdi>{ARABIC}</bdi></td>" in page


@pytest.mark.slow
def test_an_instance_says_what_falsified_means_where_its_family_does(tmp_path: Path) -> None:
    known = generators()
    instance = INSTANCES["box-1"]
    means = falsified_means(instance, known)
    assert means in undrawn(loaded(tmp_path, judged()))
    facts = instance.facts.model_copy(update={"family": "saliency"})
    chosen = instance.model_copy(update={"facts": facts})
    assert falsified_means(chosen, known) == instance.facts.question.falsified == means
    assert falsified_means(instance, {}) == ""
