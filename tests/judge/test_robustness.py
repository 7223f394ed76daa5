"""Shares verified and falsified, by what the instances are about."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salver.core.errors import SalverError
from salver.judge.robustness import KEYS, robustness
from salver.judge.scoring import VIRTUAL_BEST
from tests.builders.frames import results

CELLS = st.tuples(st.sampled_from("ab"), st.sampled_from([0.1, 0.25, None]), st.sampled_from("xy"))
OUTCOMES = st.sampled_from(["verified", "falsified", "timeout", "unknown", "wrong", "unsupported"])


@pytest.mark.slow
@settings(max_examples=30)
@given(st.dictionaries(st.tuples(CELLS, st.integers(0, 3)), OUTCOMES, min_size=1))
def test_shares_are_those_of_counting_one_by_one(cells: dict) -> None:
    rows = [
        {"network": network, "epsilon": epsilon, "solver": solver, "outcome": outcome,
         "instance_id": f"{network}{epsilon}{number}"}
        for ((network, epsilon, solver), number), outcome in cells.items()
    ]  # fmt: skip
    frame = results(rows)
    if frame["epsilon"].isna().all():
        return
    found = robustness(frame, ("network", "epsilon"))
    real = found[found["solver"] != VIRTUAL_BEST]
    assert real["instances"].sum() == len(frame)
    for row in real.to_dict("records"):
        own = [
            outcome
            for ((network, epsilon, solver), _), outcome in cells.items()
            if (network, solver) == (row["network"], row["solver"])
            and (epsilon == row["epsilon"] or (epsilon is None and math.isnan(row["epsilon"])))
        ]
        assert row["verified"] == own.count("verified") / len(own)
        assert row["falsified"] == own.count("falsified") / len(own)
        assert row["verified"] + row["falsified"] + row["open"] == pytest.approx(1)
        assert row["wrong"] == own.count("wrong")
        for name in ("verified", "falsified"):
            assert row[f"{name}_low"] - 1e-12 <= row[name] <= row[f"{name}_high"] + 1e-12


def test_groups_stand_in_the_order_of_their_numbers_and_the_virtual_best_is_last() -> None:
    rows = [
        {"epsilon": epsilon, "solver": solver, "outcome": outcome, "instance_id": str(epsilon)}
        for epsilon in (0.5, 0.02, 0.1)
        for solver, outcome in (("a", "unknown"), ("b", "verified"))
    ]
    found = robustness(results(rows), ("epsilon",))
    assert found["epsilon"].tolist() == [0.02] * 3 + [0.1] * 3 + [0.5] * 3
    assert found["solver"].tolist()[:3] == ["b", "a", VIRTUAL_BEST]
    assert found["verified"].tolist()[:3] == [1, 0, 1]


def test_an_instance_counts_once_whatever_the_number_of_repetitions() -> None:
    rows = [
        {"repetition": number, "outcome": outcome}
        for number, outcome in enumerate(["verified"] * 2 + ["unknown"])
    ]
    found = robustness(results(rows), ("network",))
    assert (found["instances"] == 1).all()
    assert (found["verified"] == 1).all()


def test_an_unfinished_run_has_no_mean() -> None:
    assert robustness(results([{}]), ("network",), unfinished=True)["par2"].isna().all()


@pytest.mark.parametrize(
    ("by", "line"),
    [
        ("epsilonn", "--by: no table is by 'epsilonn'; did you mean epsilon?"),
        ("k", "--by: no instance of this run says its k; it was made from a set without such facts"),
    ],
)
def test_keys_that_there_are_not(by: str, line: str) -> None:
    with pytest.raises(SalverError) as raised:
        robustness(results([{}]), (by,))
    assert str(raised.value).startswith(line)


def test_every_key_is_a_column_of_the_results() -> None:
    assert set(KEYS) <= set(results([{}]).columns)


def test_a_fact_that_some_instances_lack_is_a_group_of_its_own() -> None:
    frame = results([{"network": "a", "instance_id": "1"}, {"network": "", "instance_id": "2"}])
    found = robustness(frame, ("network",))
    assert found["network"].tolist() == ["", "", "a", "a"]
    assert isinstance(found, pd.DataFrame)
