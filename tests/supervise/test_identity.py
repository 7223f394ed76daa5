"""Orphans are told from what a living process has made, and from what cannot be judged from here."""

from __future__ import annotations

import os
import subprocess

import pytest

from salver.supervise import identity
from salver.supervise.identity import orphaned, own_identity, started


def test_a_name_of_this_process_is_no_orphan() -> None:
    assert not orphaned(f"{own_identity()}-abc")


def test_a_name_of_a_process_that_has_ended_is_an_orphan() -> None:
    boot, namespace, _, _ = own_identity().split("-")
    with subprocess.Popen(["sleep", "60"]) as child:
        name = f"{boot}-{namespace}-{child.pid}-{started(child.pid)}-abc"
        assert not orphaned(name)
        child.kill()
    assert orphaned(name)


def test_a_process_that_is_hidden_is_not_taken_for_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "stat_fields", lambda _: [])
    boot, namespace, _, _ = own_identity().split("-")
    assert not orphaned(f"{boot}-{namespace}-1-77-abc")


def test_a_pid_used_anew_does_not_save_an_orphan() -> None:
    boot, namespace, pid, start = own_identity().split("-")
    assert orphaned(f"{boot}-{namespace}-{pid}-{int(start) + 1}-abc")


@pytest.mark.parametrize("part", [0, 1])
def test_other_machines_and_namespaces_are_left_alone(part: int) -> None:
    words = own_identity().split("-")
    words[3] = "1"
    words[part] = "12345678"
    assert not orphaned("-".join([*words, "abc"]))


@pytest.mark.parametrize(
    "name",
    ["", "system.slice", "a-b-c-d-e", pytest.param(own_identity(), id="own"), "1-2-3-4-5-6", "x-1-2-3-4"],
)
def test_foreign_names_are_left_alone(name: str) -> None:
    assert not orphaned(name)


def test_no_process_has_no_start() -> None:
    assert started(os.getpid()).isdigit()
    assert started(2**22 + 1) == ""
