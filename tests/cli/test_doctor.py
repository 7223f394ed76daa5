"""What `doctor` says about limits, runexec, pinning, GPUs and lacking tools."""

from __future__ import annotations

import types

import pytest

from salver.cli import examination as doctor
from salver.cli.examination import SelfCheck, examine
from salver.core.plugins import FoundPlugins
from salver.runners.contract import Runner
from salver.supervise import cgroups, runexec


class Lacking(Runner):
    """Lacks two modules, a variable and a device."""

    name = "lacking"
    needs = ("no_such_module", "json", "nor_this_one")
    environment_variables = ("NO_SUCH_HOME",)
    devices = frozenset({"cuda"})
    version = command = parse = None  # type: ignore[assignment]


Lacking.__abstractmethods__ = frozenset()


def findings(monkeypatch: pytest.MonkeyPatch) -> dict[str, SelfCheck]:
    found = FoundPlugins()
    found["lacking"] = Lacking
    monkeypatch.setattr(doctor, "runners", lambda warn: found)
    return {finding.subject: finding for finding in examine()}


def test_polling_is_named_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cgroups.VARIABLE, "off")
    found = findings(monkeypatch)["limits"]
    assert found.usable
    assert found.detail.startswith("rss-polling, memory and CPU time looked up every 20 ms: switched off by")


def test_control_groups_are_named_with_their_controllers(monkeypatch: pytest.MonkeyPatch) -> None:
    if not cgroups.available().version:
        pytest.skip("no control groups")
    detail = findings(monkeypatch)["limits"].detail
    assert detail.startswith(cgroups.available().label)
    assert all(str(word) in detail for word in cgroups.available().parents)


def test_runexec_pinning_and_lacking_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(runexec.PROGRAM_VARIABLE, "/nowhere/runexec")
    monkeypatch.setattr(doctor, "physical_cores", lambda: [0, 2])
    found = findings(monkeypatch)
    assert not found["runexec"].usable
    assert "pip install benchexec" in found["runexec"].detail
    assert found["pinning"].detail == "2 physical cores for -j with --pin: CPU 0, 2"
    lacking = found["solver lacking"]
    assert not lacking.usable
    for word in ("no_such_module", "nor_this_one", "NO_SUCH_HOME is not set", "runs on cuda only"):
        assert word in lacking.detail
    assert "json" not in lacking.detail


def test_every_gpu_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = types.SimpleNamespace(
        is_available=lambda: True, device_count=lambda: 2, get_device_name=lambda number: f"H{number}00"
    )
    monkeypatch.setitem(__import__("sys").modules, "torch", types.SimpleNamespace(cuda=cuda))
    assert doctor.examine_cuda().detail == "2 GPUs, one for each run on cuda: H000, H100"
