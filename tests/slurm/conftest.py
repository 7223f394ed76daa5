"""A real Slurm of one node on the loopback for these tests, which are skipped where it is not installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.engines.conftest import make

SCRIPT = ROOT / "scripts" / "one_node_slurm.sh"
__all__ = ["make"]
PROGRAMS = ("sbatch", "slurmctld", "slurmd", "munged")


@pytest.fixture(scope="session")
def slurm_conf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Starts Slurm; yields the path of its configuration."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        pytest.skip(f"no {', '.join(missing)}: run scripts/one_node_slurm.sh install")
    folder = tmp_path_factory.mktemp("slurm")
    started = _script("start", folder, path)
    if started.returncode != 0:
        pytest.skip(f"Slurm does not start here: {started.stderr.strip()[-500:]}")
    try:
        yield str(folder / "slurm.conf")
    finally:
        stopped = _script("stop", folder, path)
    assert stopped.returncode == 0, stopped.stderr


def _script(verb: str, folder: Path, path: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": path}
    return subprocess.run(
        [SCRIPT, verb, folder], env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def slurm(slurm_conf: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes Slurm's commands talk to the Slurm of these tests."""
    monkeypatch.setenv("SLURM_CONF", slurm_conf)
