"""Keras files of quick tests are probed in this process: a new one imports h5py again, for every file."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from salver.nets.keras import file, hdf5_probe


@pytest.fixture(autouse=True)
def probed_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: Sequence[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        with contextlib.suppress(Exception):
            hdf5_probe.walk(command[-1])
        return subprocess.CompletedProcess(command, 0)

    if request.node.get_closest_marker("slow") is None:
        here = SimpleNamespace(run=run, TimeoutExpired=subprocess.TimeoutExpired)
        monkeypatch.setattr(file, "subprocess", here)
