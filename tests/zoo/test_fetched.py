"""What becomes of a job whose record is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from distributed import KilledWorker
from distributed.client import FutureCancelledError
from distributed.scheduler import NoValidWorkerError

from salver.core.errors import SalverError
from salver.run.cluster.engine import InFlight, fetched, lost_record
from salver.run.cluster.workforce import Request
from salver.run.plan import PlannedJob
from salver.runners.answers import Claim, Job
from salver.supervise.finished import Limits, Termination
from tests.fake_solvers.runner import fake_instance


class FakeFuture:
    """Answers with these results, one a call; raises those that are errors."""

    def __init__(self, *answers: Any, status: str = "finished") -> None:
        self.answers, self.status = list(answers), status

    def result(self, timeout: float) -> Any:
        assert timeout < 10
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


@pytest.fixture
def planned(tmp_path: Path) -> PlannedJob:
    job = Job(
        instance_id="a", solver="x", solver_version="1", options={}, limits=Limits(wall_s=1), repetition=0
    )
    return PlannedJob(job=job, instance=fake_instance(tmp_path))


def ask(planned: PlannedJob, future: FakeFuture, lives: Callable[[], bool] = lambda: True) -> Any:
    flight = InFlight(planned, Request(1), Request(1), "tcp://w", 0, future)  # type: ignore[arg-type]
    return fetched(flight, lives)


def test_a_slow_worker_is_waited_for_and_a_dead_one_is_not(planned: PlannedJob) -> None:
    record = lost_record(planned, "why")
    assert (record.termination, record.claim, record.reason) == (
        Termination.INFRASTRUCTURE,
        Claim.NONE,
        "why",
    )
    assert ask(planned, FakeFuture(TimeoutError(), TimeoutError(), record)) is record
    answers = iter([True, False])
    assert ask(planned, FakeFuture(TimeoutError(), TimeoutError(), record), lambda: next(answers)) is None


@pytest.mark.parametrize(
    "error",
    [
        KilledWorker("x", None, 3),
        NoValidWorkerError("x", (), (), (), 1.0),
        FutureCancelledError("x", "gone"),
        ConnectionError("reset"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_lost_with_a_worker_may_be_tried_again(planned: PlannedJob, error: Exception) -> None:
    assert ask(planned, FakeFuture(error)) is None


def test_a_time_out_of_the_job_s_own_is_no_reason_to_wait(planned: PlannedJob) -> None:
    assert ask(planned, FakeFuture(TimeoutError(), status="error")) is None


def test_faults_of_the_set_up_end_the_run(planned: PlannedJob) -> None:
    with pytest.raises(SalverError, match=r"^worker on w: no folder$"):
        ask(planned, FakeFuture(SalverError("no folder", "worker on w")))
    with pytest.raises(SalverError, match=r"could not take a job \(ModuleNotFoundError: salver\); set all"):
        ask(planned, FakeFuture(ModuleNotFoundError("salver")))
