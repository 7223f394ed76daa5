"""Fixtures shared by all tests: the optional data folder and a private cache."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# While tests are collected, whatever the environment says: else every run rewrites all of their assertions.
_WRITES_NONE = sys.dont_write_bytecode
sys.dont_write_bytecode = False

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    # Before a numeric library is loaded: tests run side by side, and threads of one wait for those of others.
    os.environ.setdefault(_threads, "1")

# How long an example takes says how busy the machine is, nothing else.
hypothesis.settings.register_profile("whole", deadline=None)
hypothesis.settings.register_profile("quick", deadline=None, max_examples=30)

ROOT = Path(__file__).resolve().parent.parent

SLOW = {
    "browser", "engines", "experiments", "faults", "fuzz", "integration",
    "perf", "slurm", "soundness", "testkit",
}  # fmt: skip
"""Folders whose tests start processes, engines or campaigns; single slow tests elsewhere are marked there."""


def pytest_configure(config: pytest.Config) -> None:
    hypothesis.settings.load_profile("quick" if _is_quick(config) else "whole")


def _is_quick(config: pytest.Config) -> bool:
    return config.option.markexpr == "not slow"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The quick part does not even import them: that takes as long as many of its tests."""
    skipped = _is_quick(config) and collection_path.parent == ROOT / "tests"
    return True if skipped and collection_path.name in SLOW else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.relative_to(ROOT / "tests").parts[0] in SLOW:
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    sys.dont_write_bytecode = _WRITES_NONE
    # What is there now stays to the end: the collector of garbage need not look at it again and again, nor as
    # often as it does by itself.
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Half of the tests for each of two workers, in order: what a module's fixtures cost is paid once."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The user's data folder; tests that need it are skipped, with the reason, where it is missing."""
    folder = Path(os.environ.get("SALVER_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "paper").is_dir():
        pytest.skip(f"no data folder: set SALVER_DATA ({folder} has no paper/)")
    return folder


@pytest.fixture(scope="session")
def data_dir_or_none() -> Path | None:
    """The user's data folder where there is one."""
    folder = Path(os.environ.get("SALVER_DATA", ROOT.parent / "shared" / "data"))
    return folder if (folder / "paper").is_dir() else None
