"""Loading of ONNX files, which are untrusted: checked, limited in size, with the weights beside them alone.

A file whose name ends in `.gz` is gzip-compressed, as VNN-COMP ships its networks; no other is.
"""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import onnx

from salver.core.errors import SalverError, plain_reason
from salver.nets.onnx.external import embed_weights, locations, nodes_of
from salver.nets.onnx.normal import MOST_NODES, normal_form
from salver.nets.onnx.other_kinds import other_kind
from salver.nets.onnx.unread import MEND, advice

MOST_BYTES = 512 << 20
_SHORT = 64
GZIP = b"\x1f\x8b"
_POSITIVE = ("strides", "dilations", "kernel_shape", "group")
OLDEST_OPERATORS = 7
"""Opset from which on arithmetic broadcasts by shape alone; before, attributes said how."""


def load_model(
    path: Path, outputs: Sequence[str] = (), keep: Collection[str] = (), *, one_output: bool = False
) -> onnx.ModelProto:
    """Loads and checks an ONNX file, with the weights that lie beside it, in one form for all exporters.

    Args:
        outputs: names of tensors that are its outputs instead of those of the file; none for those.
        keep: tensors that stay although no output needs them.
        one_output: refuses a file with several outputs of which none is named.

    Raises:
        SalverError: missing, corrupt, larger than `MOST_BYTES`, with operators that are not ONNX's own, or
            with several outputs.
    """
    model = _parse(stored_bytes(path), path)
    embed_weights(model, path, MOST_BYTES)
    refuse_oddities(model, str(path))
    if one_output and not outputs:
        refuse_several_outputs(model.graph, str(path))
    return inferred(normal_form(model, str(path), outputs, keep), str(path))


def inferred(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """A model in normal form with the types and sizes of its tensors, as inference finds them.

    Raises:
        SalverError: operators that are not ONNX's own, or that do not fit what they read.
    """
    _refuse_unknown(model, where)
    try:
        _check(model)
        model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        _forget_unfound(model.graph)
        _check(model)
    except MemoryError:
        raise
    except Exception as error:  # the package raises many unrelated types
        raise _invalid(error, where) from error
    return model


def self_contained(path: Path) -> bytes:
    """The unpacked bytes of a model as it is, but for weights beside it, which are put inside.

    Raises:
        SalverError: it is no ONNX file, or is too large.
    """
    data = stored_bytes(path)
    model = _parse(data, path)
    if not locations(model):
        return data
    embed_weights(model, path, MOST_BYTES)
    whole: bytes = model.SerializeToString(deterministic=True)
    return whole


def files_of(path: Path) -> list[Path]:
    """The files that a network is made of: its own, and those beside it that hold its weights.

    Any other file, and one that cannot be read, stands for itself alone; its reader will say what is wrong.
    """
    if not path.name.lower().endswith((".onnx", ".onnx.gz")):
        return [path]
    try:
        beside = locations(_parse(stored_bytes(path), path))
    except SalverError:
        return [path]
    return [path, *(path.parent / name for name in beside)]


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
            _refuse_size(os.fstat(stream.fileno()).st_size, path)
            data = _at_most(stream, path)
        is_packed = data.startswith(GZIP)
        if is_packed != (path.suffix.lower() == ".gz"):
            what = "is compressed" if is_packed else "is not compressed, as its name says"
            raise SalverError(what, str(path), f"rename it to end in {'.onnx.gz' if is_packed else '.onnx'}")
        if is_packed:
            with gzip.open(io.BytesIO(data)) as packed:
                data = _at_most(packed, path)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        what = f"cannot be unpacked ({plain_reason(error)})"
        raise SalverError(what, str(path), "fetch it again") from error
    except OSError as error:
        raise SalverError(f"cannot be read ({error.strerror})", str(path), "check the path") from error
    _refuse_other_kinds(data, path)
    return data


def _at_most(stream: Any, path: Path) -> bytes:
    data: bytes = stream.read(MOST_BYTES + 1)
    _refuse_size(len(data), path)
    return data


def _refuse_size(count: int, path: Path) -> None:
    if count > MOST_BYTES:
        raise SalverError(f"is larger than {MOST_BYTES >> 20} MiB", str(path), "use a smaller network")


def _refuse_other_kinds(data: bytes, path: Path) -> None:
    """Refuses what is no ONNX file at first sight, and says what it is."""
    if kind := other_kind(data, path.suffix.lower()):
        raise SalverError(kind[0], str(path), kind[1])


def refuse_oddities(model: onnx.ModelProto, where: str) -> None:
    """Refuses what would be read otherwise than it is meant.

    Raises:
        SalverError: training parts, an operator set that is too old or too new, too many operators, sizes of
            windows that are not positive.
    """
    if sum(1 for _ in nodes_of(model)) > MOST_NODES:
        raise SalverError(f"has more than {MOST_NODES} operators", where, "use a smaller network")
    if model.training_info:
        raise SalverError("holds training parts", where, "export it for inference")
    newest = onnx.defs.onnx_opset_version()
    for version in (o.version for o in model.opset_import if o.domain in ("", "ai.onnx")):
        if version < OLDEST_OPERATORS:
            what = f"uses operator set {version}, and salver reads sets {OLDEST_OPERATORS} to {newest}"
            raise SalverError(what, where, "bring it up to date with onnx.version_converter")
        if version > newest:
            what = f"uses operator set {version}, and salver reads sets {OLDEST_OPERATORS} to {newest}"
            raise SalverError(what, where, f"export it with opset_version={newest}")


def _parse(data: bytes, path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load_from_string(data)
    except Exception as error:  # of the parser, of many unrelated types
        what = "is no ONNX file, or is cut short" if len(data) > _SHORT else "is no ONNX file"
        raise SalverError(what, str(path), "download or export it again") from error
    if not model.graph.output:
        raise SalverError(
            "is no ONNX file: it holds no network with an output", str(path), "download or export it again"
        )
    for node in nodes_of(model):
        _refuse_fatal(node, str(path))
    return model


def _refuse_fatal(node: onnx.NodeProto, where: str) -> None:
    """Refuses what ends the process while the onnx package infers shapes: it divides and counts by these."""
    texts = (node.op_type, node.domain, node.name, *node.input, *node.output)
    if not all(isinstance(text, str) for text in texts):
        raise SalverError("holds a name that is no text", where, "download or export it again")
    for attribute in node.attribute:
        if attribute.name in _POSITIVE and any(v <= 0 for v in (*attribute.ints, *_single(attribute))):
            what = f"{node.op_type} {node.name!r:.60} has a {attribute.name} that is not positive"
            raise SalverError(what, where, "export the model again")
        if attribute.name == "perm" and sorted(attribute.ints) != list(range(len(attribute.ints))):
            what = f"{node.op_type} {node.name!r:.60} has a perm that is no permutation"
            raise SalverError(what, where, "export the model again")


def _single(attribute: onnx.AttributeProto) -> tuple[int, ...]:
    return (attribute.i,) if attribute.type == onnx.AttributeProto.INT else ()


def refuse_several_outputs(graph: onnx.GraphProto, where: str) -> None:
    """Raises: SalverError: which outputs there are, where there are several."""
    if len(graph.output) > 1:
        names = [value.name for value in graph.output]
        what = f"has {len(names)} outputs ({', '.join(repr(name) for name in names)[:400]})"
        labels = (onnx.TensorProto.INT64, onnx.TensorProto.INT32, onnx.TensorProto.STRING)
        scores = [v.name for v in graph.output if v.type.tensor_type.elem_type not in labels]
        named = f"`--output-name {(scores or names)[-1]}`"
        hint = f"name the one with the scores, as in {named} (`output` in suites and in Python)"
        raise SalverError(what, where, hint)


def _check(model: onnx.ModelProto) -> None:
    """The package's own checks, before inference: that relies on them, and ends the process otherwise.

    Outputs have no types yet, which the checks would miss.
    """
    outputs = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in model.graph.output]
    del model.graph.output[:]
    try:
        onnx.checker.check_model(model)
    finally:
        model.graph.output.extend(outputs)


def _forget_unfound(graph: onnx.GraphProto) -> None:
    """Leaves out what inference has not found the shape of, which the checker would miss."""
    for place in range(len(graph.value_info) - 1, -1, -1):
        if not graph.value_info[place].type.tensor_type.HasField("shape"):
            del graph.value_info[place]
    for value in graph.output:
        if value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape"):
            value.ClearField("type")


def _refuse_unknown(model: onnx.ModelProto, where: str) -> None:
    """Raises: SalverError: an operator that ONNX does not define, in this set."""
    version = next((o.version for o in model.opset_import if not o.domain), 1)
    for node in nodes_of(model):
        if node.op_type == "ZipMap" or (not node.domain and onnx.defs.has(node.op_type, version)):
            continue
        kind = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
        named = f" (node {node.name!r:.60})" if node.name else ""
        what = f"operator {kind:.80}{named} is not supported by salver: it is not one of ONNX's set {version}"
        hint = advice(node.op_type)
        raise SalverError(what, where, hint if hint != MEND else "export it with ONNX's own operators")


def _invalid(error: Exception, where: str) -> SalverError:
    text = " ".join(str(error).split()).replace("[ShapeInferenceError]", "")[:200].strip()
    first = text or type(error).__name__
    return SalverError(f"is no valid ONNX file ({first})", where, "export the model again")
