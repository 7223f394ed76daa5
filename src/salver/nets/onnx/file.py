"""Loading of ONNX files, which are untrusted: checked, limited in size, and with nothing outside the file.

A file whose name ends in `.gz` is gzip-compressed, as VNN-COMP ships its networks; no other is.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx

from salver.core.errors import SalverError
from salver.nets.onnx.other_kinds import other_kind

MOST_BYTES = 512 << 20
MOST_NODES = 20_000
GZIP = b"\x1f\x8b"
_POSITIVE = ("strides", "dilations", "kernel_shape", "group")
OLDEST_OPERATORS = 7
"""Opset from which on arithmetic broadcasts by shape alone; before, attributes said how."""


def load_model(path: Path) -> onnx.ModelProto:
    """Loads and checks an ONNX file; external data is refused.

    Raises:
        SalverError: missing, corrupt, larger than `MOST_BYTES`, or with data outside the file.
    """
    model = _parse(stored_bytes(path), path)
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # the checker raises many unrelated types
        raise _invalid(path, error) from error
    refuse_oddities(model, str(path))
    return model


def self_contained(path: Path) -> bytes:
    """The unpacked bytes of a model that a runtime reads without any other file.

    Raises:
        SalverError: it is no ONNX file, is too large, or keeps weights in other files.
    """
    data = stored_bytes(path)
    _parse(data, path)
    return data


def network_name(path: Path) -> str:
    """Name of the network in a file: the file's name without `.onnx`, `.onnx.gz` and the like."""
    return Path(path.stem).stem if path.suffix.lower() == ".gz" else path.stem


def to_stored(path: Path, data: bytes) -> bytes:
    """The bytes of a model as a file of this name holds them: compressed where it ends in `.gz`."""
    return gzip.compress(data, mtime=0) if path.suffix.lower() == ".gz" else data


def refuse_other_name(path: Path) -> None:
    """Refuses to write ONNX into a file whose name says otherwise.

    Raises:
        SalverError: the name ends in neither `.onnx` nor `.onnx.gz`.
    """
    if not path.name.lower().endswith((".onnx", ".onnx.gz")):
        raise SalverError("is no name of an ONNX file", str(path), "let it end in .onnx or .onnx.gz")


def stored_bytes(path: Path) -> bytes:
    """Content of an ONNX file, unpacked where its name ends in `.gz`.

    Raises:
        SalverError: it cannot be read, is larger than `MOST_BYTES`, or is not what its name says.
    """
    try:
        if not path.is_file() and path.exists():
            raise SalverError("is no plain file", str(path), "name an ONNX file")
        with path.open("rb") as stream:
            data = _at_most(stream, path)
        is_packed = data.startswith(GZIP)
        if is_packed != (path.suffix.lower() == ".gz"):
            what = "is compressed" if is_packed else "is not compressed, as its name says"
            raise SalverError(what, str(path), f"rename it to end in {'.onnx.gz' if is_packed else '.onnx'}")
        if is_packed:
            with gzip.open(io.BytesIO(data)) as packed:
                data = _at_most(packed, path)
    except gzip.BadGzipFile as error:
        raise SalverError(f"cannot be unpacked ({error})", str(path), "fetch it again") from error
    except OSError as error:
        raise SalverError(f"cannot be read ({error.strerror})", str(path), "check the path") from error
    except (EOFError, zlib.error) as error:
        raise SalverError(f"cannot be unpacked ({error})", str(path), "fetch it again") from error
    _refuse_other_kinds(data, path)
    return data


def _at_most(stream: Any, path: Path) -> bytes:
    data: bytes = stream.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise SalverError(f"is larger than {MOST_BYTES >> 20} MiB", str(path), "use a smaller network")
    return data


def _refuse_other_kinds(data: bytes, path: Path) -> None:
    """Refuses what is no ONNX file at first sight, and says what it is."""
    if kind := other_kind(data):
        raise SalverError(kind[0], str(path), kind[1])


def refuse_oddities(model: onnx.ModelProto, where: str) -> None:
    """Refuses what would be read otherwise than it is meant.

    Raises:
        SalverError: weights in other files, functions, training parts, names given twice, sparse weights, an
            operator set too old, too many operators.
    """
    graph = model.graph
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(graph)):
        raise SalverError("keeps weights in other files", where, "save it with its weights inside")
    if len(graph.node) > MOST_NODES:
        raise SalverError(f"has more than {MOST_NODES} operators", where, "use a smaller network")
    if model.functions or model.training_info or graph.sparse_initializer:
        what = "holds functions, training parts or sparse weights"
        raise SalverError(what, where, "export it for inference, with plain weights")
    if any(o.domain in ("", "ai.onnx") and o.version < OLDEST_OPERATORS for o in model.opset_import):
        raise SalverError(
            f"uses operators older than set {OLDEST_OPERATORS}", where, "export the model again"
        )
    names = [tensor.name for tensor in graph.initializer]
    if len(set(names)) < len(names) or len({value.name for value in graph.input}) < len(graph.input):
        raise SalverError("gives two tensors one name", where, "export the model again")


def _parse(data: bytes, path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load_from_string(data)
    except Exception as error:  # protobuf raises many unrelated types
        raise _invalid(path, error) from error
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(model.graph)):
        raise SalverError("keeps weights in other files", str(path), "save it with its weights inside")
    # The onnx package divides by these while it infers shapes, and a zero ends the process.
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name in _POSITIVE and any(v <= 0 for v in (*attribute.ints, *_single(attribute))):
                what = f"{node.op_type} {node.name!r:.60} has a {attribute.name} that is not positive"
                raise SalverError(what, str(path), "export the model again")
    return model


def _single(attribute: onnx.AttributeProto) -> tuple[int, ...]:
    return (attribute.i,) if attribute.type == onnx.AttributeProto.INT else ()


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of a graph: weights, and those in attributes, at any depth (protobuf limits it to 100)."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for attribute in (a for node in graph.node for a in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for inner in (attribute.g, *attribute.graphs):
            if inner.ByteSize():
                yield from _tensors(inner)


def _invalid(path: Path, error: Exception) -> SalverError:
    if kind := _other_kind_of(path):
        return SalverError(kind[0], str(path), kind[1])
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return SalverError(f"is no valid ONNX file ({first})", str(path), "export the model again")


def _other_kind_of(path: Path) -> tuple[str, str] | None:
    """What a file that does not parse is, and what to do; its size was looked at before."""
    try:
        return other_kind(path.read_bytes())
    except OSError:
        return None
