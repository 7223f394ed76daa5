"""The ONNX graph that a Keras model becomes, and where its tensors lie in it.

Keras keeps images as height, width, channel; ONNX's operators take channel, height, width. A tensor is turned
over only where somebody needs the other order, and a flattened image keeps its order until it matters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from salver.nets.operators import Shape

OPSET = 18
MOST_ENTRIES = 2**24
Array = npt.NDArray[np.float32]
Weights = Mapping[str, Array]
Config = Mapping[str, Any]


class LayerError(Exception):
    """A layer that has no counterpart; the text says which and why in one clause."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of the model.

    Attributes:
        name: in the graph. shape: as Keras has it, without the batch.
        order: `keras` as it is; `channels` with the last axis moved to the front; `flat` for a vector that is
            an image of the shape `image` flattened in the order `channels`.
    """

    name: str
    shape: Shape
    order: Literal["keras", "channels", "flat"] = "keras"
    image: Shape = ()

    @property
    def stored(self) -> Shape:
        """Shape in the graph, without the batch."""
        return (self.shape[-1], *self.shape[:-1]) if self.order == "channels" else self.shape


@dataclass
class Emitter:
    """A graph under construction; names of operators begin with their layer's."""

    nodes: list[onnx.NodeProto]
    weights: list[onnx.TensorProto]
    layer: str = ""

    def constant(self, value: npt.ArrayLike, kind: Any = np.float32) -> str:
        """Name of a new constant."""
        name = f"/w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(np.asarray(value, kind)), name))
        return name

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Appends an operator and names its output."""
        output = f"/t{len(self.nodes)}"
        name = f"{self.layer}/{kind}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=name, **attributes))
        return output

    def apply(
        self, kind: str, tensor: Tensor, *more: str, shape: Shape | None = None, **options: Any
    ) -> Tensor:
        """Appends an operator on a tensor; the order of entries stays, and the shape unless one is given."""
        made = shape or tensor.shape
        if math.prod(made) > MOST_ENTRIES or min(made, default=1) < 1:
            raise LayerError(f"a tensor of shape {made}")
        return replace(tensor, name=self.node(kind, tensor.name, *more, **options), shape=made)

    def made_by(self, tensor: Tensor) -> str:
        """The operator that makes a tensor; empty for the input."""
        return next((str(node.op_type) for node in self.nodes[::-1] if tensor.name in node.output), "")

    def channels(self, tensor: Tensor) -> Tensor:
        """The tensor of an image or a signal with its channels first."""
        if tensor.order == "channels":
            return tensor
        rank = len(tensor.shape)
        turned = self.node("Transpose", tensor.name, perm=[0, rank, *range(1, rank)])
        return Tensor(turned, tensor.shape, "channels")

    def plain(self, tensor: Tensor) -> Tensor:
        """The tensor in the order that Keras has."""
        if tensor.order == "flat":
            image = Tensor(self._reshaped(tensor.name, _moved(tensor.image)), tensor.image, "channels")
            return Tensor(self._reshaped(self.plain(image).name, tensor.shape), tensor.shape)
        if tensor.order == "channels":
            turned = self.node("Transpose", tensor.name, perm=[0, *range(2, len(tensor.shape) + 1), 1])
            return Tensor(turned, tensor.shape)
        return tensor

    def reshaped(self, tensor: Tensor, shape: Shape) -> Tensor:
        """The tensor in another shape, as Keras does it."""
        source = self.plain(tensor)
        return Tensor(self._reshaped(source.name, shape), shape)

    def flattened(self, tensor: Tensor) -> Tensor:
        """The tensor as a vector."""
        size = (math.prod(tensor.shape),)
        if tensor.order == "channels":
            return Tensor(self._reshaped(tensor.name, size), size, "flat", tensor.shape)
        return tensor if len(tensor.shape) == 1 else Tensor(self._reshaped(tensor.name, size), size)

    def alike(self, tensors: list[Tensor]) -> list[Tensor]:
        """The tensors in one order."""
        first = tensors[0]
        if all((t.order, t.image) == (first.order, first.image) and t.shape == first.shape for t in tensors):
            return tensors
        if any(t.order == "channels" for t in tensors) and len({len(t.shape) for t in tensors}) == 1:
            return [self.channels(t) for t in tensors]
        return [self.plain(t) for t in tensors]

    def model(self, given: Tensor, outputs: Mapping[str, Tensor]) -> onnx.ModelProto:
        """The graph from its input to its outputs by name, as a model."""
        taken = {given.name, *outputs}
        last = [helper.make_node("Identity", [self.plain(t).name], [name]) for name, t in outputs.items()]
        if len(taken) != 1 + len(outputs):
            raise LayerError("an output with the name of the input")
        infos = [helper.make_tensor_value_info(given.name, TensorProto.FLOAT, [1, *given.stored])]
        ends = [helper.make_empty_tensor_value_info(name) for name in outputs]
        graph = helper.make_graph([*self.nodes, *last], "keras", infos, ends, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)

    def _reshaped(self, name: str, shape: Shape) -> str:
        return self.node("Reshape", name, self.constant([1, *shape], np.int64))


def _moved(shape: Shape) -> Shape:
    return (shape[-1], *shape[:-1])
