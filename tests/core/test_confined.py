"""Files of untrusted folders: nothing leaves the folder, and only regular files of bounded size are read."""

from __future__ import annotations

import gzip
import os
import stat
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from salver.core import confined
from salver.core.confined import (
    UnfitFileError,
    clear,
    folder_inside,
    head_inside,
    inside,
    list_inside,
    read_inside,
    read_regular,
    refuse_other_than_folders,
    sha256_inside,
    unfit,
    unpack,
    unpack_inside,
    write_inside,
)
from salver.core.errors import SalverError
from tests.builders.odd_files import ODD_FILES

OUTSIDE = ["/etc/hostname", "../secret", "a/../../secret", "..", "", ".", "a\0b", "\ud800"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the file a/b/file; beside it lies a secret."""
    (tmp_path / "run/a/b").mkdir(parents=True)
    (tmp_path / "run/a/b/file").write_bytes(b"content")
    (tmp_path / "secret").write_text("TOPSECRET")
    return tmp_path / "run"


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_file_inside_is_read(folder: Path) -> None:
    assert read_inside(folder, "a/b/file", 7) == b"content"
    assert read_inside(folder, "./a//b/file", 100) == b"content"
    assert inside(folder, "a/b/file") == folder / "a/b/file"
    assert unfit(folder, "a/b/file") is None
    assert unfit(folder, "a/nothing") is None


def test_the_folder_itself_may_lie_behind_a_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    assert read_inside(tmp_path / "link", "a/b/file", 100) == b"content"


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_leaves_its_folder_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(UnfitFileError, match="leaves its folder") as caught:
        read_inside(folder, name, 100)
    assert caught.value.leaves
    with pytest.raises(SalverError, match="leaves its folder"):
        write_inside(folder, name, "x")


@pytest.mark.parametrize("kind", ODD_FILES)
@pytest.mark.parametrize("read", [read_inside, sha256_inside, unpack_inside])
def test_odd_files_are_refused_and_no_descriptor_stays_open(
    folder: Path, kind: str, read: Callable[..., object]
) -> None:
    ODD_FILES[kind](folder / "odd")
    before = descriptors()
    with pytest.raises(UnfitFileError) as caught:
        read(folder, "odd", 1 << 20)
    assert (
        caught.value.strerror.startswith(" ".join(kind.split()[:2])) or "larger than" in caught.value.strerror
    )
    assert descriptors() == before


@pytest.mark.parametrize("kind", ["a link to a file outside", "a link to itself"])
def test_a_link_is_not_followed_in_the_middle_of_a_path_either(
    folder: Path, kind: str, tmp_path: Path
) -> None:
    target = tmp_path if "outside" in kind else "x"
    (folder / "x").symlink_to(target)
    before = descriptors()
    with pytest.raises(UnfitFileError, match="behind a link 'x'"):
        read_inside(folder, "x/secret", 100)
    with pytest.raises(SalverError, match="behind a link 'x'"):
        write_inside(folder, "x/new", "x")
    with pytest.raises(SalverError, match="behind a link 'x'"):
        folder_inside(folder, "x")
    assert not (tmp_path / "new").exists()
    assert descriptors() == before


def test_a_file_that_grows_while_it_is_read_is_still_bounded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confined.os, "read", lambda *_: b"x" * 10)
    with pytest.raises(UnfitFileError, match="larger than 100 bytes"):
        read_inside(folder, "a/b/file", 100)


def test_a_file_that_the_user_names_may_be_a_link_but_no_pipe(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "pipe")
    assert read_regular(tmp_path / "link", 100) == b"TOPSECRET"
    for name, what in (("pipe", "a pipe"), ("run", "a folder")):
        with pytest.raises(UnfitFileError, match=what):
            read_regular(tmp_path / name, 100)
    with pytest.raises(UnfitFileError, match="a device"):
        read_regular(Path("/dev/zero"), 100)


def test_what_is_packed_comes_back(folder: Path) -> None:
    (folder / "file.gz").write_bytes(gzip.compress(b"one") + gzip.compress(b"two") + bytes(8))
    (folder / "empty.gz").write_bytes(b"")
    assert unpack_inside(folder, "file.gz", 6) == b"onetwo"
    assert unpack_inside(folder, "empty.gz", 0) == head_inside(folder, "empty.gz", 5) == b""
    assert head_inside(folder, "file.gz", 2) == b"on"


def test_bombs_and_damaged_data_are_refused() -> None:
    packed = gzip.compress(bytes(1 << 20))
    for data, what in (
        (packed, "unpacks to more than 1000 bytes"),
        (b"no gzip", "damaged"),
        (packed[:-9], "unpacks to more"),
        (gzip.compress(b"short")[:-9], "cut short"),
        (gzip.compress(b"") * 100, "more than 64 parts"),
    ):
        with pytest.raises(UnfitFileError, match=what):
            unpack(data, 1000)


def test_a_packed_file_with_an_endless_name_in_its_header_costs_no_time() -> None:
    named = b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * (8 << 20)
    with pytest.raises(UnfitFileError, match="cut short"):
        unpack(named, 1000)


def test_a_file_is_written_whole_with_the_folders_it_needs(folder: Path) -> None:
    write_inside(folder, "new/deep/file", "text")
    write_inside(folder, "new/deep/file", b"other")
    assert (folder / "new/deep/file").read_bytes() == b"other"
    assert stat.S_IMODE((folder / "new/deep/file").stat().st_mode) == 0o644
    assert [path.name for path in (folder / "new/deep").iterdir()] == ["file"]


@pytest.mark.parametrize("kind", [kind for kind in ODD_FILES if kind != "a folder"])
def test_writing_replaces_what_stands_there_and_not_what_it_leads_to(folder: Path, kind: str) -> None:
    ODD_FILES[kind](folder / "odd")
    write_inside(folder, "odd", "new")
    assert (folder / "odd").lstat().st_size == 3
    assert (folder.parent / "secret").read_text() != "new"


def test_where_a_folder_stands_nothing_is_written_and_nothing_is_left(folder: Path) -> None:
    with pytest.raises(SalverError, match="cannot be written"):
        write_inside(folder, "a", "text")
    assert sorted(path.name for path in folder.iterdir()) == ["a"]


@pytest.mark.parametrize("kind", ODD_FILES)
def test_only_the_link_or_file_itself_is_removed(folder: Path, kind: str) -> None:
    ODD_FILES[kind](folder / "odd")
    clear(folder / "odd")
    assert [path.name for path in folder.iterdir()] == ["a"]
    assert (folder.parent / "secret").read_text() == "TOPSECRET"


@pytest.mark.slow
def test_folders_in_each_other_by_the_thousand_are_removed(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    for number in range(3000):
        os.mkdir("d", dir_fd=descriptor)
        os.close(os.open("f", os.O_CREAT, dir_fd=descriptor))
        inner = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
        assert number < 3000
    os.close(descriptor)
    assert dict(list_inside(folder))["a/b/file"] == "file"
    clear(folder)
    assert not folder.exists()
    assert [path.name for path in folder.parent.iterdir()] == ["secret"]


def test_folders_that_may_not_be_written_are_removed(folder: Path) -> None:
    (folder / "a/b").chmod(0)
    folder.chmod(0o500)
    clear(folder)
    assert not folder.exists()


def test_a_listing_follows_no_link(folder: Path) -> None:
    (folder / "out").symlink_to("/")
    os.mkfifo(folder / "a/pipe")
    assert sorted(list_inside(folder)) == [("a/b/file", "file"), ("a/pipe", "a pipe"), ("out", "a link")]


def test_a_link_in_the_place_of_a_folder_is_refused(folder: Path) -> None:
    (folder / "logs").symlink_to("/tmp")
    refuse_other_than_folders(folder, ["a", "nothing"])
    with pytest.raises(SalverError, match="logs: is a link, not a folder"):
        refuse_other_than_folders(folder, ["a", "logs"])


@pytest.mark.slow
def test_the_head_of_a_huge_log_is_all_that_is_unpacked(folder: Path) -> None:
    packing = zlib.compressobj(wbits=31)
    head = packing.compress(b"first line\n" + bytes(64 << 20)) + packing.flush()
    with (folder / "huge.gz").open("wb") as file:
        file.write(head)
        file.truncate(1 << 40)
    assert head_inside(folder, "huge.gz", 10) == b"first line"
