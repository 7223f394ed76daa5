"""Every kind of misbehaviour, side by side, under control groups and under polling."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

import pytest

from experiments.faults.course import FaultOutcome, limited_by, run_faults
from experiments.faults.kinds import FULL_DISK, KINDS
from experiments.faults.tmpfs import tmpfs, why_not
from salver.supervise.cgroups import available


@pytest.fixture(scope="module", params=["cgroup", "polling"])
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, FaultOutcome]:
    """One run of each kind, four at a time; what is left is looked for after the last."""
    if request.param == "cgroup" and not available().version:
        pytest.skip(f"no control groups: {available().reason}")
    rng = Random(1)
    drawn = [(kind, draw(rng)) for kind, draw in KINDS.items()]
    folder = tmp_path_factory.mktemp(request.param)
    with limited_by(request.param):
        found = run_faults(folder / "run", drawn, workers=4)
    shutil.rmtree(folder, ignore_errors=True)
    wanted = "rss-polling" if request.param == "polling" else available().label
    assert {o.record.measured for o in found if o.record.wall_s} == {wanted}
    return {outcome.kind: outcome for outcome in found}


@pytest.mark.parametrize("kind", KINDS)
def test_outcome(outcomes: dict[str, FaultOutcome], kind: str) -> None:
    outcome = outcomes[kind]
    assert outcome.complaint == ""
    assert outcome.left == ()
    over = outcome.fault.overshoot(outcome.record)
    if outcome.fault.over in ("wall", "cpu"):
        assert over is not None
        assert 0 <= over < 1
    if outcome.fault.over == "memory":
        assert over is not None
        assert (over > 0) == (outcome.record.measured == "rss-polling")


@pytest.mark.parametrize("kind", FULL_DISK)
def test_a_solver_that_fills_the_disk(tmp_path: Path, kind: str) -> None:
    if reason := why_not():
        pytest.skip(reason)
    with tmpfs(tmp_path / "small", 4096) as small:
        faults = [(kind, FULL_DISK[kind](Random(0))), ("well-behaved", KINDS["well-behaved"](Random(0)))]
        found = run_faults(tmp_path / "course", faults, workers=1, scratch=small)
        assert [(outcome.complaint, outcome.left) for outcome in found] == [("", ())] * 2
        assert list(small.iterdir()) == []
