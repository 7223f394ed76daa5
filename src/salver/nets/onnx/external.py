"""Weights that lie beside an ONNX file, as PyTorch's exporter writes them (`net.onnx.data`).

The file says where they are, and nobody vouches for it: only regular files inside the model's own folder are
read, no link is followed, and all weights together are as limited as the model itself.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import onnx

from salver.core.confined import UnfitFileError, read_inside
from salver.core.errors import SalverError

_HINT = (
    "put that file beside it, or export with the weights inside: torch.onnx.export(..., external_data=False)"
)


def embed_weights(model: onnx.ModelProto, path: Path, most_bytes: int) -> None:
    """Puts into the model what its tensors keep in files beside it.

    Args:
        path: the model's file; names of others are relative to its folder.

    Raises:
        SalverError: such a file is missing, lies elsewhere, is a link, is too short or too large.
    """
    stored: dict[str, bytes] = {}
    left = most_bytes
    for tensor in tensors_of(model):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        stated = {entry.key: entry.value for entry in tensor.external_data}
        name = stated.get("location", "")
        if name not in stored:
            stored[name] = _read(path, name, most_bytes)
        first, count = _extent(stated, len(stored[name]), tensor, path)
        left -= count
        if left < 0:
            what = f"keeps more than {most_bytes >> 20} MiB of weights in other files"
            raise SalverError(what, str(path), "use a smaller network")
        tensor.raw_data = stored[name][first : first + count]
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]


def locations(model: onnx.ModelProto) -> list[str]:
    """Names of the files that the model's tensors lie in, each once, in the order of the tensors."""
    external = (t for t in tensors_of(model) if t.data_location == onnx.TensorProto.EXTERNAL)
    stated = (entry.value for t in external for entry in t.external_data if entry.key == "location")
    return list(dict.fromkeys(stated))


def tensors_of(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of a model: weights, and those in attributes, at any depth (parsing limits it to 100)."""
    yield from _in_graph(model.graph)
    for function in model.functions:
        yield from _in_nodes(function.node)


def nodes_of(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Every operator of a model, those of its functions and of branches at any depth among them."""
    left = list(chain(model.graph.node, *(function.node for function in model.functions)))
    while left:
        node = left.pop()
        yield node
        for attribute in node.attribute:
            left.extend(chain(attribute.g.node, *(graph.node for graph in attribute.graphs)))


def _in_graph(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _in_nodes(graph.node)


def _in_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for attribute in (a for node in nodes for a in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for inner in (attribute.g, *attribute.graphs):
            if inner.ByteSize():
                yield from _in_graph(inner)


def _read(path: Path, name: str, most_bytes: int) -> bytes:
    try:
        return read_inside(path.parent, name, most_bytes)
    except UnfitFileError as error:
        hint = _HINT if error.errno != errno.EFBIG else "use a smaller network"
        what = f"keeps weights in {name!r:.120}, which is {error.strerror}"
        raise SalverError(what, str(path), hint) from error
    except OSError as error:
        what = f"keeps weights in {name!r:.120}, which cannot be read ({error.strerror})"
        raise SalverError(what, str(path), _HINT) from error


def _extent(stated: dict[str, str], size: int, tensor: onnx.TensorProto, path: Path) -> tuple[int, int]:
    """First byte and number of bytes of a tensor in its file of so many bytes."""
    try:
        first = int(stated.get("offset", "0"))
        count = int(stated["length"]) if "length" in stated else size - first
    except ValueError:
        first, count = -1, 0
    if first < 0 or count < 0 or first + count > size:
        what = f"tensor {tensor.name!r:.60} goes beyond the end of {stated.get('location', '')!r:.120}"
        raise SalverError(what, str(path), "copy both files again: they do not belong together")
    return first, count
