"""A classifier to be explained, from a file of any kind that is read, and what was left out of it.

A query means its file as it is. An explanation is of logits: of a classifier's file the one output that is
asked for is read, for one row of a batch, and without the softmax that closes it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

from salver.nets.network import Network, free_prefix, single
from salver.nets.onnx.declared import inputs_of
from salver.nets.onnx.file import inferred, load_model, refuse_several_outputs
from salver.nets.onnx.normal import captured, choose, normal_form
from salver.nets.onnx.other_kinds import KERAS
from salver.nets.onnx.reader import from_model, rows_of

_CLOSINGS = ("LogSoftmax", "Sigmoid", "Softmax")
_TWO_CLASSES = "Sigmoid of two classes"
_LEFT_OUT = dict.fromkeys(_CLOSINGS, "its input, the logits") | {
    _TWO_CLASSES: "-z / 2 and z / 2 of its input z, of which the probabilities are the softmax"
}
"""What is explained where an operator that closes a classifier is left out."""
_PASSED = ("Flatten", "Identity", "Reshape", "Squeeze", "ZipMap")
"""Operators that may stand behind a closing one, of which they change nothing but the shape."""
TOLD: set[tuple[str, str]] = set()


@dataclass(frozen=True, eq=False)
class Classifier:
    """A network X [n] -> logits [m] with weights of binary32.

    Attributes:
        closing: the operator behind the logits that was left out; None where they are the file's output.
        notes: what was left out of the file, each in a line for people.
        shape: of one sample before it is flattened, such as (channels, height, width).
        model: the same function for ONNX Runtime, to compare with; None where the network is given as such.
    """

    network: Network
    closing: str | None = None
    notes: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    model: onnx.ModelProto | None = None

    def tell(self, where: str) -> None:
        """Says on stderr what was left out, in one line each, once for a file."""
        for note in self.notes:
            if (where, note) not in TOLD:
                TOLD.add((where, note))
                print(f"salver: {where}: {note}", file=sys.stderr)


def read_classifier(path: Path, output: str | None = None) -> Classifier:
    """Reads a classifier from an ONNX or a Keras file.

    Args:
        output: name of the tensor that holds its logits; needed where the file has several outputs.

    Raises:
        SalverError: the file cannot be read, has something that is not supported, several outputs of which
            none is named, or none of that name.
    """
    if path.suffix.lower() in KERAS:
        from salver.nets.keras.file import read_keras

        model, shape = read_keras(path)
        normal = inferred(normal_form(model, str(path), [output] if output else ()), str(path))
        return replace(from_onnx(normal, str(path)), shape=shape)
    return from_onnx(load_model(path, [output] if output else (), one_output=True), str(path))


def from_onnx(model: onnx.ModelProto, where: str) -> Classifier:
    """The classifier in a loaded model.

    Raises:
        SalverError: as `read_classifier`.
    """
    refuse_several_outputs(model.graph, where)
    model, closing = _without_closing(model, where)
    notes = []
    if closing is not None:
        notes.append(f"the closing {closing} is left out: what is explained is {_LEFT_OUT[closing]}")
    _drop_unread_inputs(model.graph)
    network = single(from_model(model, where, one_of_batch=True), where)
    value = inputs_of(model.graph)[0]
    rows, sizes = rows_of(value), [axis.dim_value for axis in value.type.tensor_type.shape.dim]
    if rows > 1:
        notes.append(f"a batch of {rows} is read as one row of it: the rows are independent")
    shape = tuple(sizes[1:] or sizes)
    return Classifier(network, closing, tuple(notes), shape, model)


def _without_closing(model: onnx.ModelProto, where: str) -> tuple[onnx.ModelProto, str | None]:
    """The model up to the softmax or sigmoid that closes it, which keeps the order of the classes."""
    makers = {name: node for node in model.graph.node for name in node.output}
    node = makers.get(model.graph.output[0].name)
    while node is not None and node.op_type in _PASSED:
        node = makers.get(node.input[0])
    if node is not None and (logit := _of_two_classes(model.graph, node, makers)):
        _append_logits(model.graph, logit)
        choose(model.graph, [model.graph.node[-1].output[0]], where)
        return inferred(model, where), _TWO_CLASSES
    if node is None or node.op_type not in _CLOSINGS or not _over_classes(model, node):
        return model, None
    choose(model.graph, [node.input[0]], where)
    return inferred(model, where), str(node.op_type)


def _of_two_classes(
    graph: onnx.GraphProto, node: onnx.NodeProto, makers: Mapping[str, onnx.NodeProto]
) -> str | None:
    """The logit z of a network that ends in the probabilities 1 - p and p, where p is the sigmoid of z."""
    axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    if node.op_type != "Concat" or len(node.input) != 2 or axis not in (1, -1):
        return None
    first, second = (makers.get(name) for name in node.input)
    if first is None or second is None or (first.op_type, second.op_type) != ("Sub", "Sigmoid"):
        return None
    ones = [t for t in graph.initializer if t.name == first.input[0] and first.input[1] == second.output[0]]
    one = onnx.numpy_helper.to_array(ones[0]) if ones else np.zeros(1)
    return second.input[0] if one.size == 1 and one.item() == 1 else None


def _append_logits(graph: onnx.GraphProto, logit: str) -> None:
    """Appends -z / 2 and z / 2, of which the probabilities are the softmax."""
    names = free_prefix([name for node in graph.node for name in (*node.input, *node.output)], "/two")
    element = next((v.type.tensor_type.elem_type for v in graph.value_info if v.name == logit), 1)
    for kind, factor in (("minus", -0.5), ("plus", 0.5)):
        graph.initializer.append(onnx.helper.make_tensor(f"{names}/{kind}", element, [], [factor]))
        graph.node.append(onnx.helper.make_node("Mul", [logit, f"{names}/{kind}"], [f"{names}/{kind}/z"]))
    parts = [f"{names}/minus/z", f"{names}/plus/z"]
    graph.node.append(onnx.helper.make_node("Concat", parts, [f"{names}/z"], axis=-1))


def _over_classes(model: onnx.ModelProto, node: onnx.NodeProto) -> bool:
    """Whether the operator compares all values of a row, so that their order stays."""
    if node.op_type == "Sigmoid":
        return True
    known = {value.name: value for value in (*model.graph.value_info, *model.graph.output)}
    value = known.get(node.input[0])
    if value is None:
        return False
    sizes = [axis.dim_value for axis in value.type.tensor_type.shape.dim]
    old = next((o.version for o in model.opset_import if not o.domain), 1) < 13
    stated = next((a.i for a in node.attribute if a.name == "axis"), 1 if old else -1)
    if not -len(sizes) <= stated < len(sizes) or (len(sizes) > 1 and stated % len(sizes) == 0):
        return False
    axis = stated % len(sizes)
    others = sizes[1:axis] + ([] if old else sizes[axis + 1 :])
    return all(size == 1 for size in others)


def _drop_unread_inputs(graph: onnx.GraphProto) -> None:
    read = {name for node in graph.node for name in captured(node)}
    read |= {value.name for value in graph.output}
    for place in range(len(graph.input) - 1, -1, -1):
        if graph.input[place].name not in read:
            del graph.input[place]
