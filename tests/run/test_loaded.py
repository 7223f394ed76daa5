"""Records of one solver under several settings, which no row of a table may mix."""

from __future__ import annotations

from typing import Any

import pytest

from salver.core.errors import SalverError
from salver.families.instance import Instance
from salver.run.loaded import coverage, split_by_settings
from salver.runners.answers import Claim, RunRecord
from salver.spec.truth import Truth
from salver.supervise.finished import Termination
from tests.builders.records import instance

INSTANCES: dict[str, Instance] = {
    key: instance(Truth.UNKNOWN).model_copy(update={"id": key, "name": key, "timeout": limit})
    for key, limit in (("i", 10.0), ("j", 20.0))
}


def run(key: str, instance_id: str = "i", **changes: Any) -> RunRecord:
    told = {
        "key": key, "suite": "s", "instance_id": instance_id, "instance": instance_id, "family": "f",
        "solver": "milp", "solver_version": "1", "repetition": 0,
        "limit_s": INSTANCES[instance_id].timeout, "termination": Termination.EXITED, "exit_code": 0,
        "signal": None, "wall_s": 1.0, "cpu_s": 1.0, "memory_mb": 1.0, "claim": Claim.UNSAT, "reason": "",
        "device": "cpu", "cores": 1, "memory_limit_mb": 8000,
    }  # fmt: skip
    return RunRecord.model_validate(told | changes)


def names(*records: RunRecord) -> list[str]:
    return [record.solver for record in split_by_settings(records, INSTANCES)]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"solver_version": "2"}, ("1", "2")),
        ({"limit_s": 30.0}, ("limit 10 s", "limit 30 s")),
        ({"device": "cuda"}, ("cpu", "cuda")),
        ({"cores": 2}, ("1 core", "2 cores")),
        ({"memory_limit_mb": 16000}, ("8000 MiB", "16000 MiB")),
    ],
)
def test_another_setting_is_another_solver(changes: dict[str, Any], told: tuple[str, str]) -> None:
    assert names(run("a"), run("b", **changes)) == [f"milp ({part})" for part in told]
    # Also where no instance was run twice, as after a resume of half a run.
    assert len(set(names(run("a"), run("b", "j", **changes)))) == 2


def test_one_rule_for_the_limits_is_one_solver() -> None:
    assert names(run("a"), run("b", "j")) == ["milp"] * 2
    assert names(run("a", limit_s=30.0), run("b", "j", limit_s=30.0)) == ["milp"] * 2
    mixed = names(run("a"), run("b", "j"), run("c", limit_s=30.0), run("d", "j", limit_s=30.0))
    assert mixed == ["milp (the suite's limits)"] * 2 + ["milp (limit 30 s)"] * 2


def test_what_an_old_record_does_not_say_is_no_difference() -> None:
    assert names(run("a", device="", cores=0, memory_limit_mb=0), run("b", "j")) == ["milp"] * 2


def test_two_results_of_one_job_are_refused() -> None:
    with pytest.raises(SalverError, match="milp has two results on i"):
        split_by_settings([run("a"), run("b")], INSTANCES)
    assert names(run("a"), run("b", repetition=1)) == ["milp"] * 2


def test_a_setting_with_a_part_of_the_instances_is_unfinished() -> None:
    records = split_by_settings([run("a"), run("b", "j"), run("c", solver_version="2")], INSTANCES)
    covered = coverage(records, 2, ("milp",))
    assert (covered.fraction, covered.unfinished) == ("3 of 4 jobs", True)
    assert not coverage(records[:2], 2, ("milp",)).unfinished
    assert coverage(records[:2], 2, ("milp",), 3).fraction == "2 of 6 jobs"
    assert coverage([], 2, ("milp", "crown")).fraction == "0 of 4 jobs"
