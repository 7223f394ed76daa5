"""Parts of the page: compact data, pictures, log heads, LaTeX plots, thinning."""

from __future__ import annotations

import base64
import gzip
import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.families.other_class import SameMap
from salver.judge.judgement import JudgedRun
from salver.judge.scoring import leaderboard, results_frame
from salver.report.figures import plots
from salver.report.figures.drawing import compact, log_ticks, thinned_cloud, thinned_steps, whole_ticks
from salver.report.figures.plot import Plot
from salver.report.latex import latex
from salver.report.page.data import alphabetical, details_data, embedded, results_data, texts_data
from salver.report.page.material import HEAD, Material, RunText, gather
from salver.report.page.pictures import DrawnPoint, EntryNames, Pictures, centre
from salver.report.tables import ranks
from salver.report.templating import visible
from salver.report.words import asked, headline, question
from salver.run.logs import store_logs
from salver.spec.truth import ANSWER_WORDS, Truth
from salver.supervise.finished import Finished, Termination
from tests.builders.judged_runs import INSTANCES, judged, loaded

FRAME = results_frame(judged(), INSTANCES).assign(neurons=[8, 8, 16] * 3)


@pytest.fixture(scope="module")
def drawn() -> dict[str, Plot]:
    """The plots of the frame, by name."""
    return {plot.name: plot for plot in plots.all_plots(FRAME)}


@pytest.mark.slow
@given(st.recursive(st.text(), lambda inner: st.lists(inner, max_size=3), max_leaves=8))
def test_embedded_json_says_the_same_and_never_ends_its_element(value: object) -> None:
    plain, packed = embedded({"a": value}), embedded({"a": value}, plain_bytes=0)
    assert (plain.packed, packed.packed) == (False, True)
    assert json.loads(plain.text) == {"a": value}
    assert json.loads(gzip.decompress(base64.b64decode(packed.text))) == {"a": value}
    assert not {"<", ">", "&"} & set(plain.text)
    assert re.fullmatch(r"[A-Za-z0-9+/=]+", packed.text)


@given(st.text())
def test_visible_text_cannot_hide_or_reorder(text: str) -> None:
    shown = visible(text)
    assert len(shown) == len(text)
    assert all(mark.isprintable() or mark.isspace() for mark in shown if ord(mark) < 0x250)
    assert not set(shown) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\x1b\x00\x9b")
    assert visible(shown) == shown


def test_columns_give_the_frame_back() -> None:
    data = results_data(FRAME)
    assert data["rows"] == len(FRAME)
    for column in data["columns"]:
        name = column["name"]
        cells = column.get("codes", column.get("numbers"))
        # One cell stands for a column in which all are alike.
        assert len(cells) == (1 if len(set(cells)) == 1 else len(FRAME))
        cells = cells * (len(FRAME) // len(cells))
        if "codes" in column:
            texts = FRAME[name].replace(ANSWER_WORDS) if name in ("claim", "truth") else FRAME[name]
            assert [column["values"][code] for code in cells] == texts.tolist()
        else:
            assert cells == FRAME[name].round(column["digits"]).tolist()
    assert [data["ids"][at] for at in data["at"]] == FRAME["instance_id"].tolist()
    details = details_data(FRAME, INSTANCES, Material())
    assert [one["name"] for one in details["instances"]] == [INSTANCES[key].name for key in data["ids"]]


def test_texts_of_runs_are_given_by_the_number_of_the_row() -> None:
    key = FRAME["key"].tolist()[2]
    text = RunText(("run", "\x1b"), {"B": "2", "A": "1"}, "said", "", (True, False))
    found = texts_data(FRAME, Material(texts={key: text}))
    argv = ["run", visible("\x1b")]
    assert found["texts"] == [[2, argv, [["A", "1"], ["B", "2"]], "said", "", 1, 0]]
    assert texts_data(FRAME, Material())["texts"] == []


def test_a_point_of_many_instances_is_stored_once() -> None:
    xhat = DrawnPoint((0.0, 1.0), (2.0, 3.0), 0, ())
    picture = Pictures((1, 1, 2), (1, 1, 2), xhat, True, EntryNames())
    data = details_data(FRAME, INSTANCES, Material(pictures={"box-1": picture, "rank-1": picture}))
    assert data["vectors"] == [(0.0, 1.0), (2.0, 3.0)]
    shown = [i["picture"]["xhat"] for i in data["instances"] if "picture" in i]
    assert shown == [{"x": 0, "map": 1, "label": 0, "top": ()}] * 2


def test_an_instance_is_put_in_words() -> None:
    facts = INSTANCES["box-1"].facts.model_copy(
        update={"question": SameMap(delta=1.0, targets=(1, 2)), "clip": (0.0, 1.0), "epsilon": 0.5}
    )
    text = asked(facts)
    assert text.startswith(
        "Is there an input x within 0.5 of xhat in every entry and inside [0, 1], of which"
    )
    assert "|E(x) - E(xhat)|_inf <= 1, and the network gives it class 1 or 2 rather than" in text
    assert "E is the gradient of z_0." in text
    assert "class 1 or 2" not in asked(INSTANCES["rank-1"].facts)


def test_a_headline_says_what_became_of_an_instance() -> None:
    image = {"input_shape": (1, 4, 4), "logits": 10, "label": 5}
    others = tuple(k for k in range(10) if k != 5)
    box = INSTANCES["box-1"].facts.model_copy(
        update={**image, "question": SameMap(delta=2.57, targets=others)}
    )
    assert headline(box, Truth.SAT, reached=8) == "A 5 that becomes an 8 while its map stays within 2.57"
    assert (
        headline(box, Truth.UNSAT) == "A 5 that never becomes another class while its map stays within 2.57"
    )
    assert "not known whether it becomes another class" in headline(box, Truth.UNKNOWN)
    assert "the class is another one and no entry of the map moves by more than 2.57" in question(box)
    table = box.model_copy(
        update={"input_shape": (4,), "label": 0, "question": SameMap(delta=1.0, targets=(1,))}
    )
    named = headline(table, Truth.SAT, ("benign", "malignant"), 1)
    assert named == "An input of class benign that becomes class malignant while its map stays within 1"
    assert "the class is malignant and not benign" in question(table, ("benign", "malignant"))
    ranks = headline(INSTANCES["rank-1"].facts, Truth.SAT)
    assert ranks.startswith("An input of class 0 near which the largest entry of the map is another one")
    assert asked(box).count("another class than 5") == 1


@given(
    st.floats(0.01, 1e6),
    st.floats(1.0, 1e6),
)
def test_ticks_lie_on_their_axis_and_are_few(low: float, factor: float) -> None:
    ticks = log_ticks(low, low * factor)
    assert len(ticks) <= 5
    assert all(low <= tick <= low * factor for tick in ticks)
    assert ticks == sorted(ticks)
    assert len(ticks) >= 2 or factor < 5


def test_equal_scores_share_a_place_in_the_order_of_time() -> None:
    board = pd.DataFrame(
        {"suite": ["a"] * 4 + ["b"], "solver": ["x", "y", "z", "virtual best", "x"], "score": [9, 9, 8, 9, 1]}
    )
    assert ranks(board) == [1, 1, 3, 0, 1]
    slow, fast = FRAME.assign(solver="a", wall_s=2.0), FRAME.assign(solver="b", wall_s=1.0)
    ordered = leaderboard(pd.concat([slow, fast]))
    assert ordered["solver"].tolist() == ["b", "a", "virtual best"]


def test_a_number_that_json_has_not_is_shown_as_unknown() -> None:
    odd = FRAME.assign(wall_s=[math.nan, math.inf, -math.inf, *[1.0] * 6])
    (wall,) = (c for c in results_data(odd)["columns"] if c["name"] == "wall_s")
    assert wall["numbers"][:4] == [-1.0, -1.0, -1.0, 1.0]


@given(
    st.lists(st.floats(0.0, 1.0, width=32), min_size=1, max_size=6),
    st.floats(0.01, 0.49),
    st.sampled_from([None, "all", "each"]),
)
def test_the_explained_point_follows_from_its_box(
    values: list[float], epsilon: float, ranges: str | None
) -> None:
    x = np.array(values)
    most = np.arange(1.0, len(x) + 1) if ranges == "each" else np.ones(len(x))
    clip = {None: None, "all": (0.0, 1.0), "each": tuple((0.0, float(end)) for end in most)}[ranges]
    changes = {"epsilon": epsilon, "clip": clip, "input_shape": (len(x),)}
    facts = INSTANCES["box-1"].facts.model_copy(update=changes)
    low, high = x - epsilon, x + epsilon
    if ranges:
        low, high = low.clip(0, most), high.clip(0, most)
    found, exact = centre(low, high, facts)
    assert exact
    assert np.allclose(found, x, rtol=0, atol=2.0**-22)


def test_a_box_that_hides_its_point_is_said_to() -> None:
    facts = INSTANCES["box-1"].facts.model_copy(update={"epsilon": 1.0, "clip": (0.0, 1.0)})
    point, exact = centre(np.zeros(2), np.ones(2), facts)
    assert not exact
    assert point.tolist() == [0.5, 0.5]


def logged(run_dir: Path, stdout: str) -> JudgedRun:
    finished = Finished(
        termination=Termination.EXITED, exit_code=0, signal=None, wall_s=1, cpu_s=1, memory_mb=1,
        command=("tool", "--fast", "a b"), environment={"THREADS": "1"}, stdout=stdout,
    )  # fmt: skip
    one = judged()[0]
    logs = store_logs(run_dir, "k", finished)
    return one.model_copy(update={"run": one.run.model_copy(update={"logs": logs, "key": "k"})})


@pytest.mark.parametrize(("length", "cut"), [(HEAD, False), (HEAD + 1, True)])
def test_the_page_has_the_command_and_the_head_of_a_log(tmp_path: Path, length: int, cut: bool) -> None:
    one = logged(tmp_path, "é" * length)
    text = gather(loaded(tmp_path, [one])).texts["k"]
    assert text == RunText(("tool", "--fast", "a b"), {"THREADS": "1"}, "é" * HEAD, "", (cut, False))


def test_damaged_logs_are_left_out(tmp_path: Path) -> None:
    one = logged(tmp_path, "x" * 5000)
    for path in (tmp_path / "logs/k").iterdir():
        path.write_bytes(path.read_bytes()[:20])
    found = gather(loaded(tmp_path, [one]))
    assert found.texts == {}
    assert found.pictures == {}


@given(st.lists(st.floats(0.01, 1000.0), min_size=1, max_size=2000))
def test_thinning_keeps_ends_and_loses_nothing_that_is_seen(values: list[float]) -> None:
    y = pd.Series(sorted(values))
    x = pd.Series(range(1, len(y) + 1))
    kept = thinned_steps(x, y, 50)
    assert kept[0]
    assert kept[-1]
    assert sum(kept) <= 101
    cloud = thinned_cloud(x.astype(float), y, most=100, cells=10)
    assert len(cloud) == len(y)
    assert sum(cloud) == len(y) if len(y) <= 100 else 1 <= sum(cloud) <= 121


@pytest.mark.slow
def test_plots_are_the_same_bytes_again_and_one_path_a_cloud() -> None:
    many = pd.concat([FRAME.assign(repetition=r, wall_s=FRAME["wall_s"] * 1.1**r) for r in range(40)])
    for draw in (plots.cactus, plots.scatter, lambda f: plots.time_against(f, "neurons", "ReLU neurons")):
        one, two = draw(many), draw(many)
        assert one is not None
        assert (one.svg, one.pdf, one.tex) == (two.svg, two.pdf, two.tex)
        assert one.svg.count("<path") < 400
        assert one.rows
        assert all(len(row) == len(one.headers) for row in one.rows)
        for text in (f'<title id="plot-{one.name}-title">', "<desc ", 'role="img"'):
            assert text in one.inline


@pytest.mark.slow
def test_a_solver_has_the_same_colour_in_every_plot(drawn: dict[str, Plot]) -> None:
    # One solver solves nothing, so it is in the second alone; the curves are ordered by what is solved.
    assert plots.colours_of(("a", "b"), FRAME)["virtual best"] == "b"
    for name in ("crown", "falsify"):
        colour = plots.colours_of(plots.COLOURS, FRAME)[name].removeprefix("#")
        for plot in ("cactus", "time-neurons"):
            assert colour.lower() in drawn[plot].svg.lower()


def test_plot_tables_count_what_was_solved(drawn: dict[str, Plot]) -> None:
    solved = {row[0]: row[-2] for row in drawn["cactus"].rows}
    outcomes = FRAME["outcome"].isin(["verified", "falsified"])
    for solver, group in FRAME[outcomes].groupby("solver"):
        assert solved[str(solver)] == str(len(group))
    assert all(int(row[1]) == 3 for row in drawn["scatter"].rows)


@pytest.mark.slow
def test_the_panel_of_a_solver_that_solved_nothing_says_so() -> None:
    name = sorted(FRAME["solver"])[0]
    lost = FRAME.assign(outcome=FRAME["outcome"].mask(FRAME["solver"] == name, "timeout"))
    for plot in (plots.scatter(lost), plots.time_against(lost, "neurons", "neurons")):
        assert plot is not None
        assert plot.svg.count("solved none") == 1


@given(st.text())
def test_a_name_in_latex_stays_a_name(text: str) -> None:
    shown = latex(text)
    bare = re.sub(r"\\text[a-z]+\{\}|\\[&%$#_{}]", "", shown)
    assert not set(bare) & set("\\&%$#_{}~^<>")
    assert all(mark.isprintable() for mark in shown)


def test_latex_plots_close_what_they_open(drawn: dict[str, Plot]) -> None:
    tex = drawn["scatter"].tex
    assert sorted(re.findall(r"\\begin\{(\w+)\}", tex)) == sorted(re.findall(r"\\end\{(\w+)\}", tex))
    assert tex.count("{") - tex.count(r"\{") == tex.count("}") - tex.count(r"\}")
    assert r"\textless{}i\textgreater{}50\% \& a\_b|c" in tex


def test_texts_of_a_column_stand_in_the_order_of_the_alphabet() -> None:
    names = ["net-10", "Net-9", "", "a", "net-9b"]
    frame = pd.concat([FRAME.head(1).assign(network=name) for name in names], ignore_index=True)
    (column,) = (c for c in results_data(frame)["columns"] if c["name"] == "network")
    assert column["values"] == ["", "a", "Net-9", "net-9b", "net-10"]
    assert [column["values"][code] for code in column["codes"]] == names


@given(st.text(alphabet="aB-19é٣", max_size=12), st.text(alphabet="aB-19é٣", max_size=12))
def test_any_two_texts_can_be_put_in_order(one: str, other: str) -> None:
    assert sorted([one, other], key=alphabetical) == sorted([other, one], key=alphabetical) or (
        alphabetical(one) == alphabetical(other)
    )


def _points(path: str) -> list[tuple[float, float]]:
    """Where a path of M, L, H and V leads."""
    x, y, found = 0.0, 0.0, []
    for letter, numbers in re.findall(r"([MLHV])([\d.,-]+)", path):
        given_ = [float(number) for number in numbers.split(",")]
        x, y = given_ if letter in "ML" else (given_[0], y) if letter == "H" else (x, given_[0])
        found.append((x, y))
    return found


TENTHS = st.integers(-90, 90).map(lambda number: number / 10)


@given(st.lists(st.tuples(TENTHS, TENTHS), min_size=3, max_size=9))
def test_a_line_in_fewer_bytes_is_the_same_line(points: list[tuple[float, float]]) -> None:
    whole = "L".join(f"{x},{y}" for x, y in points)
    (line,) = re.findall(r'd="([^"]*)"', compact(f'<path d="M{whole}"/>'))
    assert _points(line) == [one for at, one in enumerate(points) if not at or points[at - 1] != one]


def test_a_cloud_of_circles_is_one_path() -> None:
    circle = '<path transform="translate({},7)" d="M2,0A2,2,0,1,1,-2,0A2,2,0,1,1,2,0" stroke="red"/>'
    svg = compact(f"<g>{circle.format(5)}{circle.format(30.25)}</g>")
    assert svg == '<path d="M7.0,7.0a2.0,2.0,0,1,1,0,-.1zM32.2,7.0a2.0,2.0,0,1,1,0,-.1z" stroke="red"/>'


def test_a_grid_is_one_path_and_groups_that_say_nothing_go() -> None:
    line = '<line transform="translate({},0)" x2="0" y2="-5" stroke="red"/>'
    moved = f'<g transform="translate(1,2)"><g>{line.format(0)}{line.format(50)}</g></g>'
    svg = compact(f'<g><path d="M0,0h0v140h0Z"/>{moved}<g fill="none"><g></g></g></g>')
    assert svg == '<g transform="translate(1,2)"><path d="M0,0l0,-5M50,0l0,-5" stroke="red"/></g>'


def test_ticks_of_counts_are_whole_numbers() -> None:
    assert whole_ticks(1) == [0, 1]
    assert whole_ticks(18) == [0, 5, 10, 15]
    assert whole_ticks(1234) == [0, 200, 400, 600, 800, 1000, 1200]
    assert all(2 <= len(whole_ticks(last)) <= 7 for last in range(1, 3000))


def test_groups_that_close_themselves_leave_a_picture_whole() -> None:
    svg = compact('<svg><g class="a"><g class="mark-text"/><g><path d="M1,2L3,4"/><g/></g></g></svg>')
    assert svg == '<svg><g class="a"><path d="M1,2L3,4"/></g></svg>'
