"""Comparisons of two runs: pairing, intervals, and what may not be compared."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from salver.core.errors import SalverError
from salver.judge.compare import compare, differences_between
from salver.judge.machine import Machine
from salver.report.compared import ComparedRun, compared_json, compared_table


def frame(costs: list[float], solver: str = "s", limit: float = 10.0, wrong: int = -1) -> pd.DataFrame:
    rows = [
        {
            "suite": "q", "instance_id": str(i), "instance": f"case-{i}", "solver": solver, "repetition": 0,
            "outcome": "wrong" if i == wrong else "verified" if cost <= limit else "timeout",
            "wall_s": cost, "cpu_s": cost, "limit_s": limit, "solver_version": "1",
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


def test_below_ten_pairs_there_is_no_verdict() -> None:
    for pairs, verdict in ((9, "too few pairs (10 are needed)"), (10, "better")):
        (found,) = compare(frame([5.0] * pairs), frame([1.0] * pairs))
        assert found.verdict == verdict
        assert (found.change == "better") == (pairs == 10)
        assert verdict in compared_table([found])


def test_wall_time_alone_is_no_verdict() -> None:
    quiet, loaded = frame([5.0] * 20), frame([9.0] * 20).assign(cpu_s=5.1)
    (found,) = compare(quiet, loaded)
    assert (found.ratio, found.change) == (1.8, "no clear difference")
    (found,) = compare(quiet, frame([9.0] * 20))
    assert found.change == "worse"


def test_what_a_loaded_machine_stopped_is_no_verdict_but_what_gave_up_is() -> None:
    quiet = frame([5.0] * 20)
    stopped = frame([11.0] * 20).assign(cpu_s=4.0)
    (found,) = compare(quiet, stopped)
    assert (len(found.lost), found.change) == (20, "no clear difference")
    (found,) = compare(quiet, frame([0.1] * 20).assign(outcome="unknown"))
    assert found.change == "worse"


def test_less_than_a_tenth_is_no_verdict() -> None:
    (found,) = compare(frame([5.0] * 50), frame([5.4] * 50))
    assert (round(found.low, 2), found.change) == (1.08, "no clear difference")


def test_versions_loads_and_what_is_unfinished_are_named() -> None:
    (found,) = compare(frame([1.0] * 3), frame([1.0] * 3).assign(solver_version="2"))
    sides = (
        ComparedRun("a", "then", "0.1.0", "0.4", ("Unfinished run: 13 of 91 jobs",)),
        ComparedRun("b", "now", "0.2.0", "2.5"),
    )
    text = compared_table([found], sides)
    assert text.splitlines()[:3] == [
        "first: a, then, salver 0.1.0, load 0.4", "first: Unfinished run: 13 of 91 jobs",
        "second: b, now, salver 0.2.0, load 2.5",
    ]  # fmt: skip
    assert "1 -> 2" in text
    told = json.loads(compared_json([found], [], sides))
    assert [side["load"] for side in told["runs"]] == ["0.4", "2.5"]
    assert told["solvers"][0]["versions"] == ["1", "2"]


def test_nothing_that_either_run_solved_has_no_cpu_ratio() -> None:
    (found,) = compare(frame([11.0] * 12), frame([11.0] * 12))
    assert found.change == "no clear difference"
    assert json.loads(compared_json([found], []))["solvers"][0]["cpu_ratio"] is None


@pytest.mark.slow
def test_two_runs_of_one_solver_differ_in_at_most_5_of_100_tries() -> None:
    """Log-normal noise on every job, and a load of the machine that stretches all of a run."""
    rng = np.random.default_rng(5)
    called = 0
    for _ in range(100):
        base = np.exp(rng.normal(0.5, 1.2, rng.integers(10, 60)))
        sides = []
        for _ in range(2):
            cpu = base * rng.lognormal(0, 0.1, base.size) * rng.uniform(1.0, 1.08)
            wall = np.minimum(cpu * rng.uniform(1.0, 2.0), 10.1)
            sides.append(frame(list(wall)).assign(cpu_s=np.minimum(cpu, wall)))
        called += compare(*sides)[0].change != "no clear difference"
    assert called <= 5


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
    one = Machine(cores=2, packages={"torch": "2.13"})
    other = Machine(cores=4, packages={"numpy": "2"})
    assert differences_between(one, one) == []
    assert differences_between(one, other) == [
        "cores: 2 and 4", "numpy: missing and 2", "torch: 2.13 and missing",
    ]  # fmt: skip
