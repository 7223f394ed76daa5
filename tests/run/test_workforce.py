"""Which worker a job is given to."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from salver.run.cluster.workforce import Request, place

HAS = st.builds(Request, st.integers(1, 6), st.integers(0, 2))
WORKERS = st.dictionaries(st.sampled_from("abcde"), HAS, max_size=5)
JOBS = st.lists(st.builds(Request, st.integers(1, 4), st.integers(0, 1)), max_size=12)


def room(worker: str, workers: Mapping[str, Request], placed: list[tuple[str, Request]]) -> Request:
    mine = [request for at, request in placed if at == worker]
    cores, gpus = sum(one.cores for one in mine), sum(one.gpus for one in mine)
    return Request(workers[worker].cores - cores, workers[worker].gpus - gpus)


@given(WORKERS, JOBS)
def test_no_worker_is_given_more_than_it_has_and_none_with_room_is_overlooked(
    workers: dict[str, Request], jobs: list[Request]
) -> None:
    placed: list[tuple[str, Request]] = [("gone", Request(9, 9))]
    for job in jobs:
        fitting = {name for name in workers if job.fits(room(name, workers, placed))}
        chosen = place(job, workers, placed)
        assert (chosen in fitting) if fitting else chosen is None
        if chosen is not None:
            placed.append((chosen, job))


def test_gpus_are_spared_and_jobs_spread() -> None:
    workers = {"gpu": Request(8, 1), "small": Request(2), "large": Request(4)}
    one = Request(1)
    placed: list[tuple[str, Request]] = []
    for _ in range(8):
        chosen = place(one, workers, placed)
        assert chosen is not None
        placed.append((chosen, one))
    assert [name for name, _ in placed] == [
        "large",
        "large",
        "large",
        "small",
        "large",
        "small",
        "gpu",
        "gpu",
    ]
    assert place(Request(1, 1), workers, placed) == "gpu"
    assert str(Request(1, 1)) == "1 core and 1 GPU"
    assert str(Request(2)) == "2 cores"
