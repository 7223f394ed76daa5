"""A scheduler with keys serves those who hold them and no one else."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import dask.config
import pytest
from distributed import Client

from experiments.engines.bench import PATIENCE_S, end, start
from salver.core.errors import SalverError
from salver.run.cluster.tls import make_keys, settings
from salver.run.cluster.workforce import LOOPBACK, JoinedScheduler, own_scheduler, worker_command
from salver.run.events import RunSummary
from tests.engines.conftest import Make
from tests.fake_solvers.project import Fake


def test_only_holders_of_the_keys_are_served(make: Make) -> None:
    bench = make({"unsat": Fake("unsat")})
    keys, others = make_keys(bench.folder / "a b" / "keys"), make_keys(bench.folder / "other")
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in (keys, keys / "key.pem"))
    runners = bench.runners()
    with own_scheduler(LOOPBACK, keys) as address:
        assert address.startswith("tls://")
        command = worker_command(address, 1, 0, "--host", LOOPBACK, "--tls", str(keys))
        worker = start(bench, *command[1:])
        try:
            summary = bench.run(runners, bench.plan(runners), JoinedScheduler(address))
        finally:
            worker.terminate()
            worker.wait(PATIENCE_S)
            end(worker)
        assert summary == RunSummary(1, 0, 0)
        with dask.config.set(settings(others)), pytest.raises(OSError):
            Client(address, timeout=1, set_as_default=False)
        with dask.config.set({"distributed.comm.require-encryption": False}), pytest.raises(OSError):
            Client(address.replace("tls", "tcp"), timeout=1, set_as_default=False)


def test_without_the_package_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    told = r"needs the package cryptography.* install salver\[dask\], or set tls = false in the --pools file"
    with pytest.raises(SalverError, match=told):
        make_keys(tmp_path / "keys")
