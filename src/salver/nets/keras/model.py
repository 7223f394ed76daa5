"""A Keras model's description -> ONNX: Sequential and functional models, in each other too.

Nothing of the description is executed or looked up by name but the layers of `salver.nets.keras.layers`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import onnx

from salver.nets.keras.emitter import Config, Emitter, LayerError, Tensor, Weights
from salver.nets.keras.layers import IGNORED, add_layer, refuse_precision
from salver.nets.operators import Shape

MOST_CALLS = 1000
_MODELS = ("Functional", "Model", "Sequential")
Path = tuple[tuple[str, int, str], ...]
"""Where a layer stands: of each model on the way to it, and of itself, the class, the number among those of
its class in its model, and the name."""
FindWeights = Callable[[Path, str, Config], Weights]
"""Weights of a layer by their names in Keras."""
Key = tuple[str, int]
"""A call of a layer: its name, and which of its calls."""


def to_onnx(model: Any, weights: FindWeights) -> tuple[onnx.ModelProto, Shape]:
    """The model as ONNX, and the shape of its input: (channels, height, width) of an image.

    Raises:
        LayerError: something of it is not supported. LookupError, TypeError, ValueError: it is malformed.
    """
    reader = _Reader(weights)
    kind, config = _kind(model), model["config"]
    if kind not in _MODELS:
        raise LayerError(f"a model of class {kind:.40}, neither Sequential nor functional")
    given = _input(kind, config)
    ends = reader.run(kind, config, [given], ())
    for tensor in ends.values():
        if len(tensor.shape) != 1:
            raise LayerError(f"its output has shape {tensor.shape}, and salver needs a vector of scores")
    return reader.emitter.model(given, ends), given.stored


class _Reader:
    def __init__(self, weights: FindWeights) -> None:
        self.emitter, self.weights, self.calls = Emitter([], []), weights, 0

    def run(self, kind: str, config: Any, inputs: list[Tensor], path: Path) -> dict[str, Tensor]:
        """Outputs by name of a model at its inputs."""
        layers = config["layers"] if isinstance(config, dict) else config
        numbered = _numbered(layers)
        if kind == "Sequential":
            tensors = inputs
            name = "X"
            for layer, place in zip(layers, numbered, strict=True):
                if _kind(layer) != "InputLayer":
                    tensors, name = [self.call(layer, tensors, (*path, place))], place[2]
            return {name: tensors[0]}
        return self._graph(config, layers, numbered, inputs, path)

    def call(self, layer: Any, inputs: list[Tensor], path: Path) -> Tensor:
        """One call of a layer or of a model in the model."""
        self.calls += 1
        if self.calls > MOST_CALLS:
            raise LayerError(f"more than {MOST_CALLS} layers")
        kind, config = _kind(layer), layer["config"]
        if kind in _MODELS:
            ends = list(self.run(kind, config, inputs, path).values())
            if len(ends) != 1:
                raise LayerError(f"a model in it with {len(ends)} outputs is not supported by salver")
            return ends[0]
        _refuse_foreign(layer)
        if kind in IGNORED:
            return inputs[0]
        self.emitter.layer = path[-1][2]
        try:
            return add_layer(self.emitter, kind, config, self.weights(path, kind, config), inputs)
        except LayerError as error:
            raise LayerError(f"layer {path[-1][2]!r:.60}: {error}") from error

    def _graph(
        self, config: Any, layers: list[Any], numbered: Path, inputs: list[Tensor], path: Path
    ) -> dict[str, Tensor]:
        """A functional model: every layer may be called several times, and reads the outputs of others."""
        starts = _references(config["input_layers"])
        if len(starts) != len(inputs):
            raise LayerError(f"{len(starts)} inputs, and salver reads models with one")
        known = dict(zip(starts, inputs, strict=True))
        waiting = [
            (layer, place, number, _arguments(node))
            for layer, place in zip(layers, numbered, strict=True)
            for number, node in enumerate(layer.get("inbound_nodes", ()))
            if _kind(layer) != "InputLayer"
        ]
        while waiting:
            ready = [one for one in waiting if all(key in known for key in one[3])]
            if not ready:
                stuck = waiting[0][1][2]
                raise LayerError(f"layer {stuck!r:.60} reads itself, or a layer that is not there")
            for layer, place, number, read in ready:
                known[place[2], number] = self.call(layer, [known[key] for key in read], (*path, place))
            waiting = [one for one in waiting if (one[1][2], one[2]) not in known]
        return {name: known[name, number] for name, number in _references(config["output_layers"])}


def _kind(layer: Any) -> str:
    if not isinstance(layer, dict) or not isinstance(layer.get("class_name"), str) or "config" not in layer:
        raise LayerError("a layer without a configuration")
    return str(layer["class_name"])


def _numbered(layers: Any) -> Path:
    counts: dict[str, int] = {}
    found = []
    for layer in layers:
        kind = _kind(layer)
        config = layer["config"]
        name = layer.get("name") or (config.get("name", "") if isinstance(config, dict) else "")
        found.append((kind, counts.get(kind, 0), str(name)))
        counts[kind] = counts.get(kind, 0) + 1
    return tuple(found)


def _refuse_foreign(layer: Any) -> None:
    """Refuses what is called as a layer of Keras and is somebody's own, or an operation between layers."""
    module, registered = layer.get("module"), layer.get("registered_name")
    if module not in (None, "keras", "keras.layers") or registered not in (None, _kind(layer)):
        raise LayerError(f"{registered or module!s:.60} is not a layer of Keras")


def _input(kind: str, config: Any) -> Tensor:
    """The input X; an image lies in it as channel, height, width."""
    layers = config["layers"] if isinstance(config, dict) else config
    if kind != "Sequential":
        name = _references(config["input_layers"])[0][0]
        layers = [layer for layer, place in zip(layers, _numbered(layers), strict=True) if place[2] == name]
    first = layers[0]
    while _kind(first) in _MODELS:
        inner = first["config"]
        first = (inner["layers"] if isinstance(inner, dict) else inner)[0]
    own = first["config"]
    refuse_precision(own)
    batch = own.get("batch_shape") or own.get("batch_input_shape")
    if not batch and isinstance(config, dict):
        batch = config.get("build_input_shape")
    if not batch:
        raise LayerError("no input shape is given")
    shape = tuple(batch[1:])
    if not shape or any(type(size) is not int or size < 1 for size in shape) or math.prod(shape) > 2**24:
        raise LayerError(f"input shape {str(shape)[:60]} is not fixed or too large")
    return Tensor("X", shape, "channels" if len(shape) == 3 else "keras")


def _references(stated: Any) -> list[Key]:
    """Calls as a model names them: [name, call, output], or a list of these."""
    listed = [stated] if stated and isinstance(stated[0], str) else stated
    found = []
    for one in listed:
        name, number, output = one
        if output:
            raise LayerError(f"layer {str(name)[:40]} with several outputs is not supported by salver")
        found.append((str(name), int(number)))
    return found


def _arguments(node: Any) -> list[Key]:
    """The calls whose outputs a call reads, in either form in which Keras has written them."""
    if isinstance(node, dict):
        return _tensors(node.get("args", ())) + _tensors(list(_meaningful(node.get("kwargs", {})).values()))
    found = []
    for one in node:
        name, number, output, *options = one
        _meaningful(options[0] if options else {})
        found += _references([[name, number, output]])
    return found


def _meaningful(options: Any) -> dict[str, Any]:
    """Options of a call that change something. Raises: LayerError: one does that is not known."""
    kept = {k: v for k, v in options.items() if k not in ("mask", "training") and v is not None}
    if set(kept) - {"inputs"}:
        raise LayerError(f"a call with {sorted(kept)[0][:40]} is not supported by salver")
    return kept


def _tensors(value: Any) -> list[Key]:
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        return _references([value["config"]["keras_history"]])
    if isinstance(value, list | tuple):
        return [key for part in value for key in _tensors(part)]
    raise LayerError(f"a call with the constant {str(value)[:40]} is not supported by salver")
