"""Interrupted runs end like undisturbed ones: a short round for each way, under either kind of limits."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from experiments.faults.course import limited_by
from experiments.faults.resume import WAYS, Result, one_round, undisturbed
from experiments.faults.tmpfs import why_not

INSTANCES = 2


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """What a run gives that nothing disturbs."""
    return undisturbed(tmp_path_factory.mktemp("undisturbed") / "run", INSTANCES)[0]


@pytest.mark.parametrize(
    ("way", "backend"), [(way, ("cgroup", "polling")[number % 2]) for number, way in enumerate(WAYS)]
)
def test_an_interrupted_run_loses_nothing(tmp_path: Path, expected: Result, way: str, backend: str) -> None:
    if way == "full" and (reason := why_not()):
        pytest.skip(reason)
    with limited_by(backend):
        damage = one_round(tmp_path / "run", way, expected, 0, Random(3), INSTANCES, interruptions=1)
    assert damage.starts == 2
    assert damage.sound, damage
