"""The comparison of training regimes on outcomes whose differences are known beforehand."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.training import bench_training
from experiments.training_tables import (
    NetworkAccuracy,
    answers,
    network_table,
    question_table,
    share_difference,
)
from salver.core.errors import SalverError
from salver.judge.paired import crossed_difference
from salver.run.manifest import RunOptions

SEEDS, POINTS = (0, 1, 2), (10, 11, 12, 13)


def frame(outcomes: dict[str, dict[tuple[int, int], str]], question: str = "label-changes") -> pd.DataFrame:
    """One run per regime, seed and point; pairs that are not listed are timeouts."""
    rows = [
        {
            "question": question, "regime": regime, "network_seed": seed, "index": point,
            "outcome": given.get((seed, point), "timeout"), "delta_over_saliency": 0.5,
        }
        for regime, given in outcomes.items()
        for seed, point in itertools.product(SEEDS, POINTS)
    ]  # fmt: skip
    return pd.DataFrame(rows)


EVERYWHERE = dict.fromkeys(itertools.product(SEEDS, POINTS), "verified")
ONE_SEED = {pair: "verified" for pair in EVERYWHERE if pair[0] == 0}


def test_a_difference_that_is_the_same_everywhere_has_no_width() -> None:
    found = share_difference(frame({"plain": {}, "guided": EVERYWHERE}), "guided", "verified")
    assert (found.value, found.low, found.high, found.pairs) == (1.0, 1.0, 1.0, 12)
    assert found.clear


def test_a_difference_from_one_seed_of_three_is_not_clear() -> None:
    found = share_difference(frame({"plain": {}, "guided": ONE_SEED}), "guided", "verified")
    assert found.value == pytest.approx(1 / 3)
    assert found.low == 0
    assert not found.clear


def test_pairs_are_matched_and_not_pooled() -> None:
    first = {(0, 10): "verified"}
    runs = frame({"plain": first, "guided": first}).sample(frac=1, random_state=0)
    found = share_difference(runs, "guided", "verified")
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_settings_of_one_point_are_averaged_first() -> None:
    runs = pd.concat([frame({"plain": {}, "adv": EVERYWHERE}), frame({"plain": {}, "adv": {}})])
    found = share_difference(runs, "adv", "verified")
    assert (found.value, found.pairs) == (0.5, 12)


def test_the_crossed_interval_is_wider_than_that_of_independent_pairs() -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(0, 1, (3, 1)) + rng.normal(0, 0.1, (3, 40))
    found = crossed_difference(table)
    flat = [rng.choice(table.ravel(), table.size).mean() for _ in range(1000)]
    assert found.high - found.low > 2 * float(np.subtract(*np.quantile(flat, [0.975, 0.025])))
    assert found.low <= found.value <= found.high
    assert found.value == pytest.approx(table.mean())


def test_missing_pairs_are_left_out() -> None:
    found = crossed_difference(np.array([[1.0, np.nan], [1.0, 1.0]]))
    assert (found.value, found.low, found.high, found.pairs) == (1.0, 1.0, 1.0, 3)
    assert crossed_difference(np.full((2, 2), np.nan)).pairs == 0


def test_the_tables_and_the_sentences() -> None:
    runs = frame({"r2et": ONE_SEED, "adv": EVERYWHERE, "plain": {(0, 10): "falsified"}}, "same-map")
    table = question_table(runs, "same-map").set_index("regime")
    assert list(table.index) == ["plain", "r2et", "adv"]
    assert table.loc["plain", ["verified", "falsified", "undecided", "of"]].tolist() == ["0", "1", "11", "12"]
    assert table.loc["adv", "verified - plain"] == "+100 (+100 to +100)"
    assert table.loc["plain", "verified - plain"] == "-"
    assert table.loc["adv", "median delta / max saliency"] == "0.50"
    first, second = answers(runs)
    assert first.startswith("same-map: no clear effect of R2ET on the verified share: +33 points")
    assert second.startswith("same-map: adversarial training raises the verified share by 100 points")
    assert "12 pairs" in second


def test_accuracies_are_shown_with_their_range() -> None:
    measured = [NetworkAccuracy("plain", seed, 0.1, 0.9 + seed / 100, 0.5, 0.4) for seed in (0, 1)]
    (row,) = network_table(measured).to_dict("records")
    assert row == {
        "regime": "plain",
        "accuracy %": "90.5 (90.0 to 91.0)",
        "FGSM 0.1 %": "50.0 (50.0 to 50.0)",
        "PGD 0.1 %": "40.0 (40.0 to 40.0)",
    }


def suite_file(folder: Path, family: str, params: str) -> str:
    path = folder / "pairs.toml"
    text = f'title = "t"\ntimeout = 5\n[[family]]\ngenerator = "{family}"\nparams = {params}\n'
    path.write_text(text)
    return str(path)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALVER_CACHE", str(tmp_path / "cache"))


def test_from_suite_to_report(tmp_path: Path, cache: None) -> None:
    params = '{ network = "digits-16x16", regimes = ["plain", "wd"], points = 1, label_epsilons = [0.05] }'
    options = RunOptions(solvers=("hybrid",), workers=1, timeout=20)
    said: list[str] = []
    key = suite_file(tmp_path, "training_pairs", params)
    folder = bench_training(tmp_path, options, key, say=said.append)
    assert {path.name for path in folder.iterdir()} == {"training.md", "networks.csv", "label-changes.csv"}
    table = pd.read_csv(folder / "label-changes.csv", dtype=str).set_index("regime")
    assert list(table.index) == ["plain", "wd"]
    assert (table["of"] == "1").all()
    report = (folder / "training.md").read_text()
    assert "label-changes: " in report
    assert "weight decay" in report


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    other = suite_file(tmp_path, "vg_box", '{ network = "digits-16x16", epsilons = [0.1] }')
    with pytest.raises(SalverError, match="family training_pairs alone"):
        bench_training(tmp_path, RunOptions(solvers=("hybrid",)), other)
    with pytest.raises(SalverError, match="one solver"):
        bench_training(tmp_path, RunOptions(solvers=("hybrid", "milp")))
