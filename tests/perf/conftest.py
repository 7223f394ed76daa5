"""Stored baselines say how fast what was, not on whose machine."""

from __future__ import annotations

from typing import Any


def pytest_benchmark_update_machine_info(config: Any, machine_info: dict[str, Any]) -> None:
    machine_info.pop("node", None)


def pytest_benchmark_update_commit_info(config: Any, commit_info: dict[str, Any]) -> None:
    for name in ("branch", "project", "author_time"):
        commit_info.pop(name, None)
