"""One form for ONNX files of all exporters, before anything is made of them.

Functions are written out, operators come in order, sparse weights become dense, and what no output needs is
gone, whatever it is. Sizes that the file states of inner tensors and outputs are left out: exporters state
false ones, and inference finds the true ones. None of this changes a value.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
import onnx
from onnx import inliner, numpy_helper

from salver.core.errors import SalverError, suggestion
from salver.nets.network import free_prefix
from salver.nets.onnx.strict import MOST_ENTRIES
from salver.nets.onnx.unread import called

MOST_NODES = 20_000
_ALIAS = "ai.onnx"
_AGAIN = "export the model again"


def normal_form(
    model: onnx.ModelProto, where: str, outputs: Sequence[str] = (), keep: Collection[str] = ()
) -> onnx.ModelProto:
    """The model in the one form that the reader takes; `model` itself is used up.

    Args:
        outputs: tensors that are its outputs instead of those of the file; none for those.
        keep: tensors that stay although no output needs them.

    Raises:
        SalverError: a name that stands for nothing or for two things, a circle, too many operators, sparse
            weights that are malformed or too large.
    """
    _with_one_domain(model, where)
    model = _written_out(model, where)
    graph = model.graph
    _write_out_scalers(graph)
    _refuse_two_of_a_name(graph, where)
    _make_dense(graph, where)
    _sort(graph, where)
    choose(graph, outputs or [value.name for value in graph.output], where, keep)
    del graph.value_info[:]
    for value in graph.output:
        value.ClearField("type")
    for value in graph.input:
        _free_negative_sizes(value)
    return model


def captured(node: onnx.NodeProto) -> Iterator[str]:
    """Names of the tensors that an operator reads, those that its branches take from around it among them."""
    yield from filter(None, node.input)
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            own = {t.name for t in inner.initializer} | {value.name for value in inner.input}
            own |= {name for child in inner.node for name in child.output}
            wanted = [name for child in inner.node for name in captured(child)]
            yield from (n for n in (*wanted, *(v.name for v in inner.output)) if n and n not in own)


def renamed(node: onnx.NodeProto, names: Mapping[str, str]) -> onnx.NodeProto:
    """A copy of an operator that reads and makes tensors of other names, in its branches too."""
    copy: onnx.NodeProto = onnx.NodeProto.FromString(node.SerializeToString())
    copy.input[:] = [names.get(name, name) for name in node.input]
    copy.output[:] = [names.get(name, name) for name in node.output]
    for attribute in copy.attribute:
        for graph in [attribute.g] if attribute.HasField("g") else attribute.graphs:
            inner = [renamed(child, names) for child in graph.node]
            del graph.node[:]
            graph.node.extend(inner)
            for value in graph.output:
                value.name = names.get(value.name, value.name)
    return copy


def _with_one_domain(model: onnx.ModelProto, where: str) -> None:
    """ONNX's own operators have two domains that mean the same; the empty one is used."""
    versions = {o.version for o in model.opset_import if o.domain in ("", _ALIAS)}
    if len(versions) > 1:
        raise SalverError("states two operator sets", where, _AGAIN)
    kept = [o for o in model.opset_import if o.domain not in ("", _ALIAS)]
    del model.opset_import[:]
    model.opset_import.extend([*(onnx.helper.make_opsetid("", v) for v in versions), *kept])
    for nodes in (model.graph.node, *(function.node for function in model.functions)):
        for node in nodes:
            _rename_domain(node)


def _rename_domain(node: onnx.NodeProto) -> None:
    if node.domain == _ALIAS:
        node.domain = ""
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                _rename_domain(inner)


def _written_out(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """The model with every call of a function replaced by what the function does."""
    if not model.functions:
        return model
    known = {(f.domain, f.name): f for f in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size(nodes: Sequence[onnx.NodeProto], above: tuple[tuple[str, str], ...]) -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type)
            if key in above:
                raise SalverError(f"function {node.op_type!r:.60} calls itself", where, _AGAIN)
            if key in known and key not in sizes:
                sizes[key] = size(known[key].node, (*above, key))
            total += sizes.get(key, 1)
            inner = (g for a in node.attribute for g in (a.g, *a.graphs))
            total += sum(size(graph.node, above) for graph in inner)
        return total

    if len(known) > MOST_NODES or size(model.graph.node, ()) > MOST_NODES:
        raise SalverError(f"has more than {MOST_NODES} operators", where, "use a smaller network")
    try:
        return inliner.inline_local_functions(model, True)
    except Exception as error:  # of the package's native part
        raise SalverError("holds functions that cannot be written out", where, _AGAIN) from error


def _write_out_scalers(graph: onnx.GraphProto) -> None:
    """A Scaler of ai.onnx.ml, as scikit-learn's exporter writes a StandardScaler, is (x - offset) * scale."""
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node]
    if all(node.op_type != "Scaler" for node in nodes):
        return
    del graph.node[:]
    own = free_prefix([name for node in nodes for name in (*node.input, *node.output)], "/scaler")
    for number, node in enumerate(nodes):
        if (node.op_type, node.domain) != ("Scaler", "ai.onnx.ml"):
            graph.node.append(node)
            continue
        names = [f"{own}{number}/{part}" for part in ("single", "offset", "scale", "shifted")]
        values = {a.name: list(a.floats) for a in node.attribute}
        for name, value in zip(
            names[1:3], (values.get("offset", [0.0]), values.get("scale", [1.0])), strict=True
        ):
            graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        make = onnx.helper.make_node
        graph.node.append(make("Cast", [node.input[0]], names[:1], to=onnx.TensorProto.FLOAT))
        graph.node.append(make("Sub", names[:2], names[3:]))
        graph.node.append(make("Mul", [names[3], names[2]], [node.output[0]]))


def _refuse_two_of_a_name(graph: onnx.GraphProto, where: str) -> None:
    weights = [t.name for t in graph.initializer] + [s.values.name for s in graph.sparse_initializer]
    inputs = [value.name for value in graph.input]
    made = [name for node in graph.node for name in node.output if name]
    known = {*weights, *inputs, *made}
    if len(known) < len({*weights, *inputs}) + len(made) or len(set(weights)) < len(weights) \
            or len(set(inputs)) < len(inputs):  # fmt: skip
        raise SalverError("gives two tensors one name", where, _AGAIN)


def _make_dense(graph: onnx.GraphProto, where: str) -> None:
    for sparse in graph.sparse_initializer:
        graph.initializer.append(_dense(sparse, sparse.values.name, where))
    del graph.sparse_initializer[:]
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "sparse_value":
                dense = _dense(attribute.sparse_tensor, node.output[0], where)
                attribute.CopyFrom(onnx.helper.make_attribute("value", dense))


def _dense(sparse: onnx.SparseTensorProto, name: str, where: str) -> onnx.TensorProto:
    shape = tuple(sparse.dims)
    if any(size < 0 for size in shape) or math.prod(shape) > MOST_ENTRIES:
        raise SalverError(f"tensor {name!r:.60} has more than {MOST_ENTRIES} entries", where,
                          "use a smaller network")  # fmt: skip
    try:
        values, places = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
        if places.ndim == 2:
            places = np.ravel_multi_index(tuple(places.T), shape)
        if len(places) != len(values) or (places < 0).any():
            raise ValueError("indices")
        full = np.zeros(math.prod(shape), values.dtype)
        full[places] = values
    except Exception as error:  # of the package too: wrong lengths, unknown types
        raise SalverError(f"sparse tensor {name!r:.60} is malformed", where, _AGAIN) from error
    return numpy_helper.from_array(full.reshape(shape), name)


def _sort(graph: onnx.GraphProto, where: str) -> None:
    """Puts every operator behind those whose outputs it reads, otherwise in the order of the file."""
    maker = {name: number for number, node in enumerate(graph.node) for name in node.output if name}
    known = {t.name for t in graph.initializer} | {value.name for value in graph.input}
    readers: list[list[int]] = [[] for _ in graph.node]
    waits = [0] * len(graph.node)
    for number, node in enumerate(graph.node):
        for name in set(captured(node)) - known:
            if name not in maker:
                what = f"operator {called(node)} reads a tensor {name!r:.60} that nothing makes"
                raise SalverError(what, where, _AGAIN)
            readers[maker[name]].append(number)
            waits[number] += 1
    ready = [number for number, count in enumerate(waits) if count == 0]
    order: list[int] = []
    while ready:
        order.append(heapq.heappop(ready))
        for reader in readers[order[-1]]:
            waits[reader] -= 1
            if waits[reader] == 0:
                heapq.heappush(ready, reader)
    if len(order) < len(waits):
        stuck = next(node for node, count in zip(graph.node, waits, strict=True) if count)
        raise SalverError(f"operator {called(stuck)} waits for itself, in a circle", where, _AGAIN)
    if order != sorted(order):
        nodes = [graph.node[number] for number in order]
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(copies)


def choose(graph: onnx.GraphProto, outputs: Sequence[str], where: str, keep: Collection[str] = ()) -> None:
    """Makes these tensors the outputs, and removes operators and weights that neither they nor `keep` need.

    Inputs stay, for queries count them.

    Raises:
        SalverError: the graph, which is sorted, has no tensor of that name.
    """
    known = {value.name: value for value in (*graph.value_info, *graph.output)}
    made = {name for node in graph.node for name in node.output} | {value.name for value in graph.output}
    for name in outputs:
        if name not in made:
            there = [value.name for value in graph.output]
            raise SalverError(f"has no output {name!r:.60}", where, suggestion(name, there))
    chosen = [known.get(name) or onnx.helper.make_empty_tensor_value_info(name) for name in outputs]
    copies = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in chosen]
    del graph.output[:]
    graph.output.extend(copies)
    needed = {*keep, *outputs}
    for place in range(len(graph.node) - 1, -1, -1):
        node = graph.node[place]
        if needed.intersection(filter(None, node.output)):
            needed.update(captured(node))
        else:
            del graph.node[place]
    for place in range(len(graph.initializer) - 1, -1, -1):
        if graph.initializer[place].name not in needed:
            del graph.initializer[place]


def _free_negative_sizes(value: onnx.ValueInfoProto) -> None:
    """A size of -1 is how some exporters say that it is open."""
    for axis in value.type.tensor_type.shape.dim:
        if axis.HasField("dim_value") and axis.dim_value < 0:
            axis.dim_param = "open"
