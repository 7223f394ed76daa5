"""Output files: never over an input or anything that is there, whole or not at all, as their names say."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import onnx
import pytest

from salver.cli.calling import call
from salver.core.errors import SalverError
from salver.core.files import fresh_folder, refuse_output
from salver.nets.onnx.file import load_model, network_name
from salver.nets.onnx.reader import read_onnx
from salver.solvers.__main__ import main as solve
from tests.builders.command_line import app
from tests.builders.small_network import classifier


def spellings(source: Path) -> list[Path]:
    """Other ways to name a file: through another folder, a link, a hard link."""
    folder = source.parent / "sub"
    folder.mkdir()
    (folder / "soft.onnx").symlink_to(source)
    (folder / "chain.onnx").symlink_to(folder / "soft.onnx")
    os.link(source, folder / "hard.onnx")
    (source.parent / "twin").symlink_to(source.parent)
    names = [folder / "soft.onnx", folder / "chain.onnx", folder / "hard.onnx", source]
    return [*names, folder / ".." / source.name, source.parent / "twin" / source.name]


@pytest.mark.parametrize("force", [[], ["--force"]], ids=["plain", "force"])
def test_unroll_never_overwrites_its_input(
    tmp_path: Path, force: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    source = classifier(tmp_path / "net.onnx")
    before = source.read_bytes()
    for output in spellings(source):
        assert call(app, ["unroll", str(source), "-o", str(output), "--label", "0", *force]) == 2
        assert "is the input" in capsys.readouterr().err
        assert source.read_bytes() == output.read_bytes() == before


def test_unroll_replaces_a_file_only_with_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, output = classifier(tmp_path / "net.onnx"), tmp_path / "g.onnx"
    output.write_text("mine")
    command = ["unroll", str(source), "-o", str(output), "--label", "0"]
    assert call(app, command) == 2
    assert (
        "g.onnx: exists already; choose another name, or replace it with --force" in capsys.readouterr().err
    )
    assert output.read_text() == "mine"
    assert call(app, [*command, "--force"]) == 0
    assert read_onnx(output).output_size == 4


def test_a_link_that_leads_nowhere_is_there_already(tmp_path: Path) -> None:
    (tmp_path / "g.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    source = classifier(tmp_path / "net.onnx")
    assert call(app, ["unroll", str(source), "-o", str(tmp_path / "g.onnx"), "--label", "0"]) == 2
    assert not (tmp_path / "elsewhere.onnx").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("no/such/g.onnx", "does not exist; make it first"),
        ("folder.onnx", "is a folder"),
        ("pipe.onnx", "is no plain file"),
        ("g.h5", "is no name of an ONNX file"),
        ("net.onnx/g.onnx", "does not exist"),
    ],
)
def test_unroll_refuses_odd_outputs_and_leaves_nothing(
    tmp_path: Path, output: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = classifier(tmp_path / "net.onnx")
    (tmp_path / "folder.onnx").mkdir()
    os.mkfifo(tmp_path / "pipe.onnx")
    before = sorted(tmp_path.rglob("*"))
    assert call(app, ["unroll", str(source), "-o", str(tmp_path / output), "--label", "0", "--force"]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_compressed_networks_are_written_and_read_as_their_names_say(tmp_path: Path) -> None:
    plain, packed = classifier(tmp_path / "net.onnx"), classifier(tmp_path / "net.onnx.gz")
    for source in (plain, packed):
        for name in ("a.onnx", "a.onnx.gz"):
            output = tmp_path / name
            command = ["unroll", str(source), "-o", str(output), "--label", "1", "--force"]
            assert call(app, command) == 0
            raw = output.read_bytes()
            data = gzip.decompress(raw) if name.endswith(".gz") else raw
            onnx.checker.check_model(onnx.load_from_string(data))
            assert read_onnx(output).sha256() == read_onnx(tmp_path / "a.onnx").sha256()
    assert {network_name(plain), network_name(packed)} == {"net"}


def test_solvers_take_compressed_networks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed = classifier(tmp_path / "net.onnx.gz")
    query = tmp_path / "q.vnnlib"
    bounds = "".join(f"(assert (>= X_{i} -1))(assert (<= X_{i} 1))\n" for i in (0, 1))
    declared = "".join(f"(declare-const {v}_{i} Real)\n" for v in "XY" for i in (0, 1))
    query.write_text(f"{declared}{bounds}(assert (>= Y_0 -1000))\n")
    for solver in ("hybrid", "crown"):
        assert solve([solver, "verify", str(query), "--network", f"N={packed}", "--timeout", "60"]) == 0
        assert capsys.readouterr().out.startswith("sat")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("n.onnx.gz", b"plain", "is not compressed, as its name says"),
        ("n.onnx", gzip.compress(b"x", mtime=0), "is compressed; rename it to end in .onnx.gz"),
        ("n.onnx.gz", gzip.compress(b"x" * 9999, mtime=0)[:-9], "cannot be unpacked"),
        ("n.onnx.gz", b"\x1f\x8b\x08\x00broken", "cannot be unpacked"),
        ("n.onnx", b"", "is empty"),
        ("n.onnx", b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", "is a Git-LFS pointer"),
        ("n.onnx", b"\n<!DOCTYPE html><html>404</html>", "is a web page"),
        ("n.onnx.gz", gzip.compress(b"<html>404</html>", mtime=0), "is a web page"),
        ("n.onnx", b"\x89HDF\r\n\x1a\n....", "is an HDF5 file"),
        ("n.onnx", b"PK\x03\x04....", "is a damaged zip archive"),
    ],
)
def test_files_that_are_no_networks_are_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SalverError, match=said):
        load_model(tmp_path / name)


def test_a_small_archive_of_a_huge_network_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("salver.nets.onnx.file.MOST_BYTES", 1 << 20)
    (tmp_path / "n.onnx.gz").write_bytes(gzip.compress(bytes(2 << 20)))
    with pytest.raises(SalverError, match="is larger than 1 MiB"):
        load_model(tmp_path / "n.onnx.gz")


def test_a_proof_or_assignment_replaces_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network, query = classifier(tmp_path / "net.onnx"), tmp_path / "q.vnnlib"
    query.write_text("never read")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "X.txt").write_text("mine")
    before = network.read_bytes()
    for option, path, said in (
        ("--proof", network, "is the input"),
        ("--proof", query, "is the input"),
        ("--proof", tmp_path / "full" / "X.txt", "exists already"),
        ("--proof", tmp_path / "no" / "p", "does not exist"),
        ("--serialise-assignments", tmp_path / "full", "is not empty"),
        ("--serialise-assignments", tmp_path / "no" / "d", "does not exist"),
        ("--serialise-assignments", network, "is no folder"),
    ):
        assert solve(["hybrid", "verify", str(query), "--network", f"N={network}", option, str(path)]) == 2
        assert said in capsys.readouterr().err
    assert network.read_bytes() == before
    assert not (tmp_path / "no").exists()


def test_folders_of_the_same_second_are_not_shared(tmp_path: Path) -> None:
    assert len({fresh_folder(tmp_path / "reports", "bench") for _ in range(3)}) == 3


def test_force_does_not_make_an_input_an_output(tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.write_text("x")
    refuse_output(source, force=True)
    with pytest.raises(SalverError, match="is the input"):
        refuse_output(source, force=True, inputs=[source])
