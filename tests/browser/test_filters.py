"""What the page works out for filtered rows, held against Python's own tables of the same rows."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from salver.judge.columns import OUTCOMES
from salver.judge.robustness import robustness
from salver.judge.scoring import PROFILES, leaderboard
from salver.report.figures.curve import curve
from salver.report.figures.plots import cactus, scatter, time_against
from salver.report.page.board import board_cells
from salver.report.page.data import results_data
from salver.report.results import with_totals
from salver.report.write import shown_in_plots
from tests.browser.chromium import Browser
from tests.builders.frames import results

SOLVERS = ("zeta", "Alpha", "milp", "beta10", "beta9")
PLOTS = ("cactus", "scatter", "time-neurons", "robustness")
READ = """(() => {
  const data = withColumns(%s);
  const rows = Int32Array.from(%s), counted = perInstance(data, rows);
  const texts = (row) => [...row.cells].map((cell) => cell.textContent);
  const boards = ["suite", "family"].map((by) => {
    const names = ["#", by, "solver", "score", "share", ...%s, "proved", "par2", "fastest", "alone"];
    const heads = names.map((name) => make("th", { "data-name": name }));
    const head = make("thead", {}, make("tr", {}, ...heads));
    const table = make("table", { "data-by": by }, head, make("tbody"));
    new Board(data, table).show(counted, {});
    return [...table.tBodies[0].rows].map(texts);
  });
  const plots = Object.entries(PLOTTED).map(([name, plot]) => {
    const found = plot(data, rows);
    const isBroken = found && DRAWINGS[name](data, found).outerHTML.includes("NaN");
    return found && [found.title, found.headers, found.rows, isBroken];
  });
  const shares = Object.assign(Object.create(Shares.prototype), { data, counted, by: { value: "network" } });
  return { boards, plots, shares: shares.groups().map(([group, counts]) => [group, [...counts]]) };
})()"""


def drawn_frame(seed: int) -> pd.DataFrame:
    """Results of several suites, families, networks and repetitions, with ties and every outcome."""
    rng = np.random.default_rng(seed)
    often = rng.dirichlet(np.full(len(OUTCOMES), 0.5))
    rows = []
    for number in range(int(rng.integers(1, 25))):
        about = {
            "suite": f"suite-{number % int(rng.integers(1, 3))}", "instance_id": f"i{number}",
            "family": str(rng.choice(["vg_box", "topk_rank"])), "network": f"n{number % 3}",
            "question": str(rng.choice(["top", "map"])), "method": str(rng.choice(["gradient", "cam"])),
            "norm": str(rng.choice(["linf", "l2"])), "epsilon": float(rng.choice([0.1, 0.25, np.nan])),
            "neurons": int(rng.choice([-1, 8, 16, 20, 33, 64])),
        }  # fmt: skip
        for solver in SOLVERS[: int(rng.integers(1, len(SOLVERS) + 1))]:
            repetitions = range(int(rng.integers(1, 4)) if seed % 2 else 1)
            rows += [about | _ended(rng, often) | {"solver": solver, "repetition": r} for r in repetitions]
    return results(rows)


def _ended(rng: np.random.Generator, often: np.ndarray[Any, Any]) -> dict[str, Any]:
    return {
        "outcome": str(rng.choice(OUTCOMES, p=often)), "limit_s": 10.0,
        "wall_s": float(rng.choice([0.001, 0.125, 2.5, round(float(rng.uniform(0, 9)), 3)])),
        "proof": str(rng.choice(["none", "checked"])),
    }  # fmt: skip


def python_board(frame: pd.DataFrame, profile: str, by: Any) -> list[list[str]]:
    """The rows of the page's own table, each cell by the name of its column."""
    board = board_cells(with_totals(leaderboard(frame, profile, by), profile), frame)
    rows = []
    for row in board["rows"]:
        names = ["#", *(key for _, _, key in board["heads"])]
        cells = dict(zip(names, [str(row["rank"]), *(cell.text for cell in row["cells"])], strict=True))
        rows.append({**dict.fromkeys(OUTCOMES, "0"), "proved": "0", by: frame[by].iloc[0], **cells})
    order = ["#", by, "solver", "score", "share", *OUTCOMES, "proved", "par2", "fastest", "alone"]
    return [[row.get(name, "") for name in order] for row in rows]


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots have their titles and tables alone: drawing them takes longest, and is tested elsewhere."""
    for module in ("plots", "curve"):
        monkeypatch.setattr(f"salver.report.figures.{module}.drawn", lambda _, described: described)


def python_plots(frame: pd.DataFrame) -> list[Any]:
    return [cactus(frame), scatter(frame), time_against(frame, "neurons", "ReLU neurons"), curve(frame)]


@pytest.fixture(scope="module")
def blank(browser: Browser, hostile_dir: Any) -> Browser:
    """A page of which only the script is used."""
    browser.media()
    browser.open((hostile_dir / "index.html").as_uri())
    return browser


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("seed", range(6))
def test_filtered_numbers_are_those_of_python(blank: Browser, seed: int) -> None:
    whole = drawn_frame(seed)
    profile = list(PROFILES)[seed % len(PROFILES)]
    order = list(dict.fromkeys(leaderboard(whole, profile)["solver"]))
    order.remove("virtual best")
    rng = np.random.default_rng(seed)
    for chosen in (np.arange(len(whole)), np.flatnonzero(rng.random(len(whole)) < 0.5)):
        frame = whole.iloc[chosen].reset_index(drop=True)
        if frame.empty:
            continue
        data = json.dumps(results_data(whole, order, profile))
        found = blank.run(READ % (data, chosen.tolist(), json.dumps(OUTCOMES)))
        for by, rows in zip(("suite", "family"), found["boards"], strict=True):
            assert rows == python_board(frame, profile, by)
        for name, plot, here in zip(
            PLOTS, python_plots(shown_in_plots(frame, order)), found["plots"], strict=True
        ):
            wanted = plot and [plot.title, list(plot.headers), [list(row) for row in plot.rows], False]
            assert (name, here) == (name, wanted)
        assert found["shares"] == python_shares(frame, whole)


def python_shares(frame: pd.DataFrame, whole: pd.DataFrame) -> list[list[Any]]:
    """By network: instances, verified and falsified ones of each solver and of the virtual best."""
    table = robustness(frame, ("network",))
    names = [
        *sorted(whole["solver"].unique(), key=lambda name: (name.rstrip("0123456789").casefold(), len(name)))
    ]
    names += ["virtual best"] if len(names) > 1 else []
    found = []
    for network, rows in table.groupby("network"):
        counts = dict.fromkeys([*names, "virtual best"], (0, 0, 0))
        for row in rows.to_dict("records"):
            if row["solver"] in names:
                hits = [round(row["instances"] * row[name]) for name in ("verified", "falsified")]
                counts[row["solver"]] = (row["instances"], *hits)
        found.append([int(str(network)[1:]), [n for count in counts.values() for n in count]])
    return found
