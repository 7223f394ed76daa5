"""Loading of ONNX files, which are untrusted: checked, limited in size, and with nothing outside the file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx

from salver.errors import SalverError
from salver.nets.onnx.other_kinds import other_kind

MOST_BYTES = 512 << 20
MOST_NODES = 20_000
_POSITIVE = ("strides", "dilations", "kernel_shape", "group")
OLDEST_OPERATORS = 7
"""Opset from which on arithmetic broadcasts by shape alone; before, attributes said how."""


def load_model(path: Path) -> onnx.ModelProto:
    """Loads and checks an ONNX file; external data is refused.

    Raises:
        SalverError: missing, corrupt, larger than `MOST_BYTES`, or with data outside the file.
    """
    model = _parse(path)
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # the checker raises many unrelated types
        raise _invalid(path, error) from error
    refuse_oddities(model, str(path))
    return model


def refuse_other_files(path: Path) -> None:
    """Refuses a model that a runtime would read together with other files.

    Raises:
        SalverError: it is no ONNX file, is too large, or keeps weights in other files.
    """
    _parse(path)


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


def _parse(path: Path) -> onnx.ModelProto:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise SalverError(f"is larger than {MOST_BYTES >> 20} MiB", str(path), "use a smaller network")
        model = onnx.load_from_string(path.read_bytes())
    except OSError as error:
        raise SalverError(f"cannot be read ({error.strerror})", str(path), "check the path") from error
    except SalverError:
        raise
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
