"""Private copies of an instance's files: fresh, unpacked, removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from salver.core.errors import SalverError
from salver.families.instance import Instance
from salver.run.stage import stage, sweep_copies
from salver.supervise.identity import own_identity
from tests.fake_solvers.runner import fake_instance


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Folder for the copies."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_copies_are_private_and_unpacked(tmp_path: Path, scratch: Path, packed: bool) -> None:
    instance = fake_instance(tmp_path, packed=packed)
    with stage(instance, tmp_path, scratch) as one, stage(instance, tmp_path, scratch) as two:
        assert one.root != two.root
        assert one.staged.onnx.is_relative_to(one.workdir)
        assert one.staged.onnx.read_text() == "a network"
        assert one.staged.vnnlib2.read_text() == "(vnnlib-version <2.0>)\n"
        one.staged.onnx.write_text("changed")
        assert two.staged.onnx.read_text() == "a network"
    assert list(scratch.iterdir()) == []


def test_copies_are_removed_after_an_error(tmp_path: Path, scratch: Path) -> None:
    with pytest.raises(KeyError), stage(fake_instance(tmp_path), tmp_path, scratch):
        raise KeyError
    assert list(scratch.iterdir()) == []


def broken(root: Path, how: str) -> Instance:
    instance = fake_instance(root, packed=True)
    packed = root / f"{instance.onnx}.gz"
    if how == "missing":
        packed.unlink()
    elif how == "outside":
        return instance.model_copy(update={"onnx": "../secret.onnx"})
    else:
        packed.write_bytes({"short": packed.read_bytes()[:-9], "other": b"plain"}[how])
    return instance


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ("missing", "is missing"),
        ("outside", "leaves the instance set"),
        ("short", "is corrupt"),
        ("other", "is corrupt"),
    ],
)
def test_bad_instance_files_are_one_clear_line(tmp_path: Path, scratch: Path, how: str, what: str) -> None:
    with pytest.raises(SalverError, match=what), stage(broken(tmp_path, how), tmp_path, scratch):
        pytest.fail("staged a broken instance")
    assert list(scratch.iterdir()) == []


def test_a_scratch_folder_that_does_not_exist_is_one_clear_line(tmp_path: Path) -> None:
    with (
        pytest.raises(SalverError, match="gone: cannot copy"),
        stage(fake_instance(tmp_path), tmp_path, tmp_path / "gone"),
    ):
        pytest.fail("staged nowhere")


def test_copies_of_a_dead_coordinator_are_swept_and_no_others(scratch: Path, tmp_path: Path) -> None:
    identity = own_identity()
    boot, namespace, pid, start = identity.split("-")
    dead = f"{boot}-{namespace}-{pid}-{int(start) + 1}"
    orphan = scratch / f"salver-{dead}-abc"
    (orphan / "work" / "locked").mkdir(parents=True)
    (orphan / "work" / "locked" / "file").write_text("left")
    (orphan / "work" / "locked").chmod(0)
    kept = [
        scratch / name for name in (f"salver-{identity}-abc", f"other-{dead}-abc", f"{dead}-abc", "salver-x")
    ]
    for folder in kept:
        folder.mkdir()
    (tmp_path / "elsewhere").mkdir()
    link = scratch / f"salver-{dead}-link"
    link.symlink_to(tmp_path / "elsewhere")
    assert sweep_copies(scratch) == 1
    assert sorted(scratch.iterdir()) == sorted([*kept, link])
    assert sweep_copies(scratch / "gone") == 0


def test_copies_of_this_process_are_named_so_that_they_can_be_swept(tmp_path: Path, scratch: Path) -> None:
    with stage(fake_instance(tmp_path), tmp_path, scratch) as place:
        assert place.root.name.startswith(f"salver-{own_identity()}-")
        assert sweep_copies(scratch) == 0
        assert list(scratch.iterdir()) == [place.root]
