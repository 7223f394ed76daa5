"""Comparisons of two runs: pairing, intervals, and what may not be compared."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from salver.errors import SalverError
from salver.judge.compare import compare, differences_between
from salver.report.compared import compared_json, compared_table


def frame(costs: list[float], solver: str = "s", limit: float = 10.0, wrong: int = -1) -> pd.DataFrame:
    rows = [
        {
            "suite": "q", "instance_id": str(i), "instance": f"case-{i}", "solver": solver, "repetition": 0,
            "outcome": "wrong" if i == wrong else "verified" if cost <= limit else "timeout",
            "wall_s": cost, "limit_s": limit,
        }
        for i, cost in enumerate(costs)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_same_run_is_no_difference() -> None:
    (found,) = compare(frame([1.0, 2.0, 11.0]), frame([1.0, 2.0, 11.0]))
    assert (found.ratio, found.low, found.high, found.change) == (1.0, 1.0, 1.0, "no clear difference")
    assert (found.gained, found.lost, found.solved) == ((), (), (2.0, 2.0))


def test_noise_is_not_progress_and_progress_is_no_noise() -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(1, 8, 60)
    noisy = np.clip(base * rng.lognormal(0, 0.2, 60), 0, 10)
    (found,) = compare(frame(list(base)), frame(list(noisy)))
    assert found.change == "no clear difference"
    assert found.low < found.ratio < found.high
    (found,) = compare(frame(list(base)), frame(list(noisy / 2)))
    assert found.change == "better"
    (found,) = compare(frame(list(noisy / 2)), frame(list(base)))
    assert found.change == "worse"


def test_gained_lost_and_wrong_are_named() -> None:
    (found,) = compare(frame([1, 11, 2]), frame([11, 1, 2], wrong=2))
    assert (found.gained, found.lost) == (("case-1",), ("case-0", "case-2"))
    assert found.wrong == (0, 1)
    assert "s lost: case-0" in compared_table([found])
    assert '"lost"' in compared_json([found], ["cores: 1 and 2"])


def test_repetitions_are_averaged_before_pairing() -> None:
    twice = pd.concat([frame([1.0, 3.0]), frame([3.0, 5.0]).assign(repetition=1)])
    (found,) = compare(twice, frame([2.0, 4.0]))
    assert found.instances == 2
    assert found.ratio == 1.0


def test_only_common_instances_count() -> None:
    (found,) = compare(frame([1.0, 2.0]), frame([1.0]))
    assert found.instances == 1


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (frame([1.0], solver="other"), "share no solver"),
        (frame([1.0], limit=20.0), "limits are 10 s and 20 s"),
    ],
)
def test_what_cannot_be_compared_is_one_clear_line(second: pd.DataFrame, why: str) -> None:
    with pytest.raises(SalverError, match=why):
        compare(frame([1.0]), second)


def test_machines_and_packages_that_differ_are_named() -> None:
    one = {"cores": 2, "packages": {"torch": "2.13"}}
    other = {"cores": 4, "packages": {"numpy": "2"}}
    assert differences_between(one, one) == []
    assert differences_between(one, other) == [
        "cores: 2 and 4", "numpy: missing and 2", "torch: 2.13 and missing",
    ]  # fmt: skip
