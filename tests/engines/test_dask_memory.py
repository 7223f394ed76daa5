"""Dask's processes keep nothing of the jobs that are over."""

from __future__ import annotations

import subprocess

from distributed import Client, Future

from experiments.engines.bench import PATIENCE_S
from salver.run.cluster.settings import forget_names
from salver.run.cluster.workforce import LOOPBACK, own_scheduler, worker_command
from tests.builders.dask_growth import named, nothing, tracked

_JOBS = 150


def _one_by_one(client: Client, first: int) -> None:
    for number in range(first, first + _JOBS):
        future: Future = client.submit(nothing, number, key=("job", number, 0), pure=False)
        future.result(timeout=PATIENCE_S)
    forget_names()


def test_neither_scheduler_nor_client_nor_worker_grows_with_the_jobs() -> None:
    with own_scheduler(LOOPBACK) as address:
        command = worker_command(address, 1, 0, "--host", LOOPBACK, "--until-eof")
        worker = subprocess.Popen(command, stdin=subprocess.PIPE)
        try:
            with Client(address, set_as_default=False) as client:
                _one_by_one(client, 0)
                before, there = tracked(), sum(client.run(tracked).values())
                _one_by_one(client, _JOBS)
                assert tracked() - before < 2 * _JOBS
                assert sum(client.run(tracked).values()) - there < 2 * _JOBS
                assert sum(client.run(named).values()) < _JOBS / 2
        finally:
            assert worker.stdin is not None
            worker.stdin.close()
            worker.wait(timeout=PATIENCE_S)
