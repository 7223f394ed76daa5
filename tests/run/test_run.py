"""Limits of a run from the user's options."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from salver.core.errors import SalverError
from salver.families.suite import read_suite
from salver.run.manifest import RunOptions
from salver.run.run_suite import limits_for
from salver.runners.registry import runners
from tests.fake_solvers.runner import fake_instance


def test_cores_are_the_solvers_unless_the_user_says_otherwise(tmp_path) -> None:
    suite, case = read_suite("bandit"), fake_instance(tmp_path)
    paper, milp = (runners()[name]() for name in ("hybrid-paper", "milp"))
    own = limits_for(RunOptions(), suite)
    assert [own(case, runner).cores for runner in (paper, milp)] == [2, 1]
    asked = limits_for(RunOptions(cores=2, workers=4), suite)
    assert [asked(case, runner).cores for runner in (paper, milp)] == [2, 2]
    command = milp.command(_staged(case, tmp_path), tmp_path, asked(case, milp))
    assert command[command.index("--threads") + 1] == "2"
    assert milp.environment(asked(case, milp))["OMP_NUM_THREADS"] == "2"


def test_more_cores_than_workers_is_one_clear_line() -> None:
    with pytest.raises(SalverError, match="3 cores does not fit 2 workers"):
        limits_for(RunOptions(cores=3, workers=2), read_suite("bandit"))
    with pytest.raises(ValidationError):
        RunOptions(cores=0)


def _staged(case, folder):
    from salver.runners.answers import StagedInstance

    return StagedInstance(instance=case, onnx=folder / "a", vnnlib=folder / "b", vnnlib2=folder / "c")
