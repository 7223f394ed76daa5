"""What a file is that was given as ONNX and is none: people mix up formats, and downloads end as pages."""

from __future__ import annotations

import io
import zipfile

_TORCH = "load it in PyTorch, and call torch.onnx.export or salver.unroll(module, example, label=...)"
_PROGRAM = "load it with torch.export.load, and give what comes of it to salver.check or salver.unroll"
_BEGINNINGS: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "is a Git-LFS pointer, not the network itself", "run `git lfs pull`"),
    (b"\x1f\x8b", "is compressed by gzip", "unpack it with gunzip"),
    (b"\x93NUMPY", "is a NumPy array, not a network", "name an ONNX file"),
    (b"\x80", "is a Python pickle, such as an old PyTorch file", _TORCH),
    (b"(", "is a text file, perhaps a VNN-LIB query", "name the network's ONNX file here"),
    (b";", "is a text file, perhaps a VNN-LIB query", "name the network's ONNX file here"),
    (b"%PDF", "is a PDF file", "name an ONNX file"),
    (b"BZh", "is compressed by bzip2", "unpack it"),
    (b"\xfd7zXZ", "is compressed by xz", "unpack it"),
)
_PAGES = (b"<!doctype", b"<html", b"<?xml", b"<head")
_TEXT = frozenset(range(32, 127)) | {9, 10, 13}
_LOOKED_AT = 512
KERAS = (".h5", ".hdf5", ".keras")
"""Endings of Keras files, which explanations are made of and queries are not."""


def other_kind(raw: bytes, ending: str = "") -> tuple[str, str] | None:
    """What a file whose name has that ending is, and what to do; None where nothing but ONNX is likely."""
    start = raw[:_LOOKED_AT].lstrip(b"\xef\xbb\xbf \t\r\n")
    if not raw.strip(b"\0"):
        return "is empty" if not raw else "holds zeros only", "download or export it again"
    for beginning, what, hint in _BEGINNINGS:
        if start.startswith(beginning):
            return what, hint
    if start.startswith(b"\x89HDF\r\n"):
        return "is an HDF5 file, such as a Keras network", _keras_hint(".h5", ending)
    if start.lower().startswith(_PAGES):
        return "is a web page, not the network itself", "download the file that the page offers"
    if raw.startswith(b"PK\x03\x04"):
        return _archive(raw, ending)
    if raw[4:8] == b"TFL3":
        return "is a TensorFlow Lite network", "salver reads ONNX: convert it with tf2onnx"
    if raw[257:262] == b"ustar":
        return "is a tar archive", "unpack it"
    if raw[8:9] == b"{" and raw[7:8] == b"\0":
        return "holds weights alone, as safetensors do", _TORCH
    if all(byte in _TEXT for byte in raw[:_LOOKED_AT]):
        return "is a text file", "name an ONNX file"
    return None


def _archive(raw: bytes, ending: str) -> tuple[str, str]:
    """A zip archive by the names in it, which is what PyTorch, NumPy and Keras write."""
    try:
        names = zipfile.ZipFile(io.BytesIO(raw)).namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        return "is a damaged zip archive", "download or export it again"
    if any(name.endswith("archive_format") for name in names):
        return "is a program of torch.export", _PROGRAM
    if any(name.endswith("data.pkl") for name in names):
        return "is a PyTorch file", _TORCH
    if any(name.endswith(".npy") for name in names):
        return "is a NumPy archive (.npz), not a network", "name an ONNX file"
    if "model.weights.h5" in names or "config.json" in names:
        return "is a Keras file", _keras_hint(".keras", ending)
    return "is a zip archive", "unpack it, or name an ONNX file"


def _keras_hint(wanted: str, ending: str) -> str:
    """Named for what it is, the file stands where salver reads ONNX alone, such as the network of a query."""
    if ending in KERAS:
        return 'write it as ONNX: model.export("net.onnx", format="onnx")'
    return f"let its name end in {wanted}"
