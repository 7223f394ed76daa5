"""A file that was given as a network and is none is named for what it is."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from salver.cli.calling import call
from salver.solvers.__main__ import main as solve
from tests.builders.command_line import app


def zipped(*names: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return made.getvalue()


def saved(write: Callable[[io.BytesIO], object]) -> bytes:
    made = io.BytesIO()
    write(made)
    return made.getvalue()


def packed() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("net.onnx"), io.BytesIO())
    return made.getvalue()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
KINDS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty; download or export it again"),
    "zeros": (b"\0" * 100, "holds zeros only"),
    "lfs": (LFS, "is a Git-LFS pointer"),
    "exported": (zipped("net/archive_format", "net/data/model.pt"), "is a program of torch.export"),
    "page": (b"\n<!DOCTYPE html><html><body>404</body></html>", "is a web page"),
    "page with mark": (b"\xef\xbb\xbf<html><body>404</body></html>", "is a web page"),
    "gzip": (gzip.compress(b"x" * 100), "is compressed; rename it"),
    "torch": (saved(lambda f: torch.save({"w": torch.zeros(2)}, f)), "is a PyTorch file"),
    "old torch": (pickle.dumps({"w": 1}), "is a Python pickle"),
    "npz": (saved(lambda f: np.savez(f, w=np.zeros(2))), "is a NumPy archive"),
    "npy": (saved(lambda f: np.save(f, np.zeros(2))), "is a NumPy array"),
    "keras": (zipped("metadata.json", "config.json", "model.weights.h5"), "is a Keras file; let its name"),
    "zip": (zipped("net.onnx"), "is a zip archive"),
    "damaged zip": (zipped("net.onnx")[:30], "is a damaged zip archive"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + b"\0" * 100, "is an HDF5 file"),
    "tar": (packed(), "is a tar archive"),
    "query": (b"(declare-const X_0 Real)\n", "perhaps a VNN-LIB query"),
    "json": (b'{"a": 1}', "is a text file"),
    "safetensors": (b'\x40\0\0\0\0\0\0\0{"w": {}}' + b"\0" * 40, "holds weights alone"),
    "tflite": (b"\x1c\0\0\0TFL3" + b"\xff" * 60, "TensorFlow Lite"),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_it_is_named_for_what_it_is(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, told = KINDS[name]
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    assert call(app, ["unroll", str(path), "-o", str(tmp_path / "g.onnx"), "--label", "0"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"salver: {path}: ")
    assert told in err
    assert err.count("\n") == 1
    query = tmp_path / "q.vnnlib"
    query.write_text("(declare-const X_0 Real)(declare-const Y_0 Real)(assert (= X_0 0))(assert (>= Y_0 0))")
    assert solve(["hybrid", "verify", str(query), "--network", f"N={path}"]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert "Wire format" not in err


@pytest.mark.parametrize(("kind", "ending"), [("keras", ".keras"), ("hdf5", ".h5"), ("hdf5", ".hdf5")])
def test_a_keras_file_of_a_query_is_to_be_written_as_onnx(
    kind: str, ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, query = tmp_path / f"net{ending}", tmp_path / "q.vnnlib"
    path.write_bytes(KINDS[kind][0])
    query.write_text("(declare-const X_0 Real)(declare-const Y_0 Real)(assert (= X_0 0))(assert (>= Y_0 0))")
    assert solve(["hybrid", "verify", str(query), "--network", f"N={path}"]) == 2
    err = capsys.readouterr().err
    assert "Keras" in err
    assert 'write it as ONNX: model.export("net.onnx", format="onnx")' in err
    assert "let its name end" not in err


def test_bytes_of_no_kind_are_no_onnx_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(bytes(range(255, 100, -1)))
    assert call(app, ["unroll", str(path), "-o", str(tmp_path / "g.onnx"), "--label", "0"]) == 2
    assert "is no ONNX file" in capsys.readouterr().err
