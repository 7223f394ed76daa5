"""Instance sets that are named by their place, in every layout, and what is refused of them."""

from __future__ import annotations

import gzip
import os
import tarfile
from pathlib import Path

import pytest

from salver.core import confined
from salver.core.errors import SalverError
from salver.families import given
from salver.families.given import is_given, opened
from salver.run import kept_set
from salver.run.kept_set import keep_set
from tests.builders.given_sets import PAIR_ROW, PLAIN_ROWS, benchmark


def packed_as(folder: Path, archive: Path, top: str) -> Path:
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, top)
    return archive


@pytest.fixture
def layouts(tmp_path: Path) -> dict[str, Path]:
    plain = benchmark(tmp_path / "tiny")
    nested = benchmark(tmp_path / "nest" / "tiny" / "2.0", packed=True).parent
    return {
        "folder": plain,
        "list": plain / "instances.csv",
        "packed": benchmark(tmp_path / "gz" / "tiny", packed=True),
        "nested": nested,
        "version": nested / "2.0",
        "archive": packed_as(plain, tmp_path / "tiny.tar.gz", "tiny"),
        "tgz": packed_as(nested, tmp_path / "tiny.tgz", "whatever"),
    }


def test_every_layout_is_the_same_set(layouts, tmp_path):
    seen = set()
    for name, target in layouts.items():
        assert is_given(str(target))
        with opened(target) as found:
            assert [one.name for one in found.manifest.instances] == ["a_sat", "a_unsat", "a_pair"], name
            assert [one.timeout for one in found.manifest.instances] == [5, 7.5, 5]
            seen.add((found.suite.key, found.manifest.recipe))
            first, _, last = found.manifest.instances
            assert (first.facts, first.versions, first.networks) == (None, {"1.0"}, {})
            assert (first.input_size, last.input_size, first.operators) == (1, 2, ("Constant", "Mul", "Relu"))
            assert (last.versions, last.networks) == ({"2.0"}, {"f": "onnx/a.onnx", "g": "onnx/sub/b.onnx"})
            keep_set(found.folder, tmp_path / f"kept-{name}")
        assert not found.folder.exists()
    assert len(seen) == 1


def test_networks_that_change_places_are_another_query(tmp_path):
    """One text, two networks: it matters which of them it calls f, also to what was judged before."""
    other = PAIR_ROW.replace("'f'", "'h'").replace("'g'", "'f'").replace("'h'", "'g'")
    folder = benchmark(tmp_path / "tiny", rows=PAIR_ROW + other)
    with opened(folder) as found:
        first, second = found.manifest.instances
        assert first.networks == {name: second.networks[swapped] for name, swapped in ("fg", "gf")}
        assert first.id != second.id
        keep_set(found.folder, tmp_path / "kept")


def test_a_packed_text_without_end_is_not_unpacked_into_a_run(tmp_path, monkeypatch):
    folder = benchmark(tmp_path / "tiny", packed=True)
    with opened(folder) as found:
        monkeypatch.setattr(kept_set, "MOST_TEXT_BYTES", 100)
        with pytest.raises(SalverError, match=r"is corrupt \(unpacks to more than 100 bytes\)"):
            keep_set(found.folder, tmp_path / "kept")


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ("", "lists no instance"),
        ("onnx/a.onnx,vnnlib/sat.vnnlib\n", "line 1: 2 columns; write network,query,seconds"),
        ("onnx,vnnlib,timeout\n" + PLAIN_ROWS, "line 1: 'timeout' is no positive number of seconds"),
        ("onnx/a.onnx,vnnlib/sat.vnnlib,-1\n", "'-1' is no positive number"),
        ("onnx/a.onnx,vnnlib/sat.vnnlib,inf\n", "'inf' is no positive number"),
        ("onnx/a.onnx,,5\n", "an empty column"),
        (
            "onnx/a.onnx,vnnlib/sat.vnnlib,5\n./onnx/a.onnx,vnnlib/sat.vnnlib.gz,9\n",
            "the same instance as line 1",
        ),
        ("onnx/gone.onnx,vnnlib/sat.vnnlib,5\n", "line 1: names onnx/gone.onnx, which is not there"),
        (PLAIN_ROWS + "onnx/a.onnx,vnnlib/gone.vnnlib,5\n", "line 3: names vnnlib/gone.vnnlib"),
        ("onnx/a.onnx,../tiny/vnnlib/sat.vnnlib,5\n", "'../tiny/vnnlib/sat.vnnlib' is a path that leaves"),
        ("/etc/passwd,vnnlib/sat.vnnlib,5\n", "'/etc/passwd' is a path that leaves"),
        ("onnx/a.onnx,vnnlib/link.vnnlib,5\n", "a link, not a regular file"),
        ("onnx/a.onnx,vnnlib/bomb.vnnlib,5\n", "unpacks to more than"),
        ("onnx/a.onnx,vnnlib/cut.vnnlib,5\n", "damaged"),
        ("vnnlib/sat.vnnlib,vnnlib/sat.vnnlib,5\n", "name the network's ONNX file"),
        ("\"[('f', 1)]\",vnnlib/pair.vnnlib,5\n", "is no list of named networks"),
        ("\"[('f', 'a'), ('f', 'b')]\",vnnlib/pair.vnnlib,5\n", "network 'f' has two files"),
        ("[('f','a.onnx'),('g','b.onnx')],vnnlib/pair.vnnlib,5\n", "names a.onnx, which is not there"),
        ('"onnx/a.onnx,vnnlib/sat.vnnlib,5\n', "is no CSV"),
    ],
)
def test_what_is_wrong_with_a_list_is_one_line(tmp_path, rows, what, monkeypatch):
    folder = benchmark(tmp_path / "tiny", rows=rows)
    (folder / "vnnlib" / "link.vnnlib").symlink_to("/etc/passwd")
    (folder / "vnnlib" / "bomb.vnnlib.gz").write_bytes(gzip.compress(bytes(1 << 20)))
    (folder / "vnnlib" / "cut.vnnlib.gz").write_bytes(gzip.compress(os.urandom(99))[:40])
    monkeypatch.setattr(given, "MOST_TEXT_BYTES", 1 << 19)
    with pytest.raises(SalverError) as caught, opened(folder):
        raise AssertionError("opened")
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_packed_file_beside_another_one_of_its_name_is_refused(tmp_path):
    """A list may name either; tools unpack a set in place."""
    folder = benchmark(tmp_path / "tiny", rows="onnx/a.onnx.gz,vnnlib/sat.vnnlib,5\n")
    packed, content = folder / "onnx" / "a.onnx.gz", (folder / "onnx" / "a.onnx").read_bytes()
    packed.write_bytes(gzip.compress(content))
    with opened(folder) as found:
        assert (found.folder / "onnx" / "a.onnx").read_bytes() == content
    packed.write_bytes(gzip.compress(content + b"\x00"))
    with (
        pytest.raises(SalverError, match=r"names onnx/a\.onnx, and onnx/a\.onnx\.gz holds another"),
        opened(folder),
    ):
        pass


def test_what_is_no_set_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    benchmark(tmp_path / "many" / "one")
    for target, what in (
        ("gone", "does not exist"), ("file", "is no instance set"), (".", "has neither"),
        ("many", "name one of its folders: one"),
    ):  # fmt: skip
        with pytest.raises(SalverError, match=what), opened(tmp_path / target):
            pass
    assert not is_given("bandit")
    assert not is_given("suites/own.toml")


def test_an_archive_leaves_nothing_outside(tmp_path):
    folder = benchmark(tmp_path / "tiny")
    (folder / "away").symlink_to("/etc")
    with (
        pytest.raises(SalverError, match="no plain file"),
        opened(packed_as(folder, tmp_path / "t.tar.gz", "t")),
    ):
        pass
    (folder / "away").unlink()
    with tarfile.open(tmp_path / "u.tar.gz", "w:gz") as tar:
        tar.add(folder / "instances.csv", "../instances.csv")
    with pytest.raises(SalverError, match="leaves its folder"), opened(tmp_path / "u.tar.gz"):
        pass
    assert confined.unfit(tmp_path, "instances.csv") is None
    assert not (tmp_path / "instances.csv").exists()
