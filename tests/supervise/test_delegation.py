"""Which group of version 2 is divided, and whose processes are moved for it: on made-up files.

`test_cgroups_v2.py` does the same on a real kernel.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from salver.supervise import delegation
from salver.supervise.cgroups import locate
from salver.supervise.delegation import ENGINE, advice, cgroup_path, delegate

OWN = str(os.getpid())


class Kernel:
    """The few files of one group, and what writing to them does."""

    def __init__(self, group: Path, members: str, controllers: str = "cpu memory pids") -> None:
        self.group = group
        texts = {"type": "domain", "controllers": controllers, "subtree_control": "", "procs": members}
        for name, text in texts.items():
            (group / f"cgroup.{name}").write_text(text)

    def write(self, path: str, text: str) -> None:
        if path == f"{self.group}/{ENGINE}/cgroup.procs":
            left = set((self.group / "cgroup.procs").read_text().split()) - {text}
            (self.group / "cgroup.procs").write_text("\n".join(left))
        elif (self.group / "cgroup.type").exists() and (self.group / "cgroup.procs").read_text():
            raise OSError(errno.EBUSY, "Device or resource busy")
        else:
            Path(path).write_text(text.replace("+", ""))

    def enabled(self) -> str:
        return (self.group / "cgroup.subtree_control").read_text()


@pytest.fixture
def marks(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Extended attributes of every group."""
    found: dict[str, bytes] = {}

    def getxattr(_: Path, name: str) -> bytes:
        if name not in found:
            raise OSError(errno.ENODATA, "no such attribute")
        return found[name]

    monkeypatch.setattr(delegation.os, "getxattr", getxattr)
    return found


def make(group: Path, monkeypatch: pytest.MonkeyPatch, *texts: str) -> Kernel:
    kernel = Kernel(group, *texts)
    monkeypatch.setattr(delegation, "write_text", kernel.write)
    return kernel


@pytest.mark.usefixtures("marks")
def test_a_process_alone_moves_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = make(tmp_path, monkeypatch, OWN)
    delegate(tmp_path)
    assert kernel.enabled() == "memory pids"
    assert (tmp_path / ENGINE).is_dir()


@pytest.mark.usefixtures("marks")
def test_others_stay_in_a_group_that_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, monkeypatch, f"1\n{OWN}")
    with pytest.raises(OSError, match="other processes are in it"):
        delegate(tmp_path)
    assert not (tmp_path / ENGINE).exists()


@pytest.mark.parametrize("mark", ["user.delegate", "trusted.delegate"])
def test_others_move_in_a_group_that_was_handed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, marks: dict[str, bytes], mark: str
) -> None:
    marks[mark] = b"1"
    kernel = make(tmp_path, monkeypatch, f"1\n{OWN}")
    delegate(tmp_path)
    assert kernel.enabled() == "memory pids"


def test_processes_of_another_namespace_are_never_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, marks: dict[str, bytes]
) -> None:
    marks["user.delegate"] = b"1"
    make(tmp_path, monkeypatch, f"0\n{OWN}")
    with pytest.raises(OSError, match="other processes are in it"):
        delegate(tmp_path)


@pytest.mark.usefixtures("marks")
def test_the_root_of_all_groups_keeps_its_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = make(tmp_path, monkeypatch, f"1\n{OWN}")
    (tmp_path / "cgroup.type").unlink()
    delegate(tmp_path)
    assert kernel.enabled() == "memory pids"
    assert not (tmp_path / ENGINE).exists()


@pytest.mark.usefixtures("marks")
def test_the_processes_controller_is_not_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = make(tmp_path, monkeypatch, OWN, "cpu memory")
    delegate(tmp_path)
    assert kernel.enabled() == "memory"


def test_what_an_engine_starts_uses_the_group_above(tmp_path: Path) -> None:
    engine = tmp_path / ENGINE
    engine.mkdir()
    assert cgroup_path(engine) == engine
    (tmp_path / "cgroup.subtree_control").write_text("memory pids\n")
    assert cgroup_path(engine) == tmp_path
    assert cgroup_path(tmp_path) == tmp_path
    (tmp_path / "cgroup.controllers").write_text("memory pids\n")
    (engine / "cgroup.controllers").write_text("memory pids\n")
    mounts = f"32 24 0:28 / {tmp_path} rw - cgroup2 cgroup2 rw\n"
    assert locate(mounts, f"0::/{ENGINE}\n").parents == {"unified": tmp_path}


def test_a_mount_of_outside_the_namespace_is_not_taken_for_the_own_group(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("memory pids\n")
    for root in ("/..", "/../.."):
        found = locate(f"32 24 0:28 {root} {tmp_path} rw - cgroup2 cgroup2 rw\n", "0::/\n")
        assert (found.version, found.reason) == (0, "no control groups for memory are mounted")


def test_a_group_without_memory_is_named(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu pids\n")
    reason = locate(f"32 24 0:28 / {tmp_path} rw - cgroup2 cgroup2 rw\n", "0::/\n").reason
    assert reason.startswith(
        f"{tmp_path} cannot be used (it has no memory controller); start with `systemd-run"
    )


def test_advice_depends_on_the_user_and_the_mount(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delegation.os, "geteuid", lambda: 0)
    assert advice(OSError(errno.EBUSY, "")) == "start with `systemd-run --scope -p Delegate=yes`"
    monkeypatch.setattr(delegation.os, "geteuid", lambda: 1000)
    assert advice(OSError(errno.EACCES, "")) == "start with `systemd-run --user --scope -p Delegate=yes`"
    assert "container" in advice(OSError(errno.EROFS, ""))
