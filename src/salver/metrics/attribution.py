"""A map as an object with the interface of Captum's methods, evaluated as a graph by ONNX Runtime."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError
from salver.explain.baseline import entry_ranges, refuse_no_range
from salver.explain.explanation import Explanation
from salver.nets.network import Network, evaluate
from salver.nets.onnx.writer import to_model
from salver.nets.runtime import Runtime, with_free_batch
from salver.points.entries import method_of
from salver.points.given import GivenPoint, given_point
from salver.points.subject import Subject, subject_of


class Attribution:
    """A method of explaining one network, called as Captum's methods are.

        maps = salver.Attribution(module, "gradient").attribute(x, target=3)

    Args:
        model: a path of ONNX or Keras, a `torch.nn.Module`, or what `read_onnx` returns.
        method: a method's name or its beginning, or its record, such as `salver.SmoothGrad(noise=...)`.
        absolute: whether maps hold absolute values.
        output: name of the output with the scores, of an ONNX file with several.
        input_range: lowest and highest value of an entry, which a baseline keeps to.
        entries: what the method lets be said, as in `salver.check`.

    Raises:
        SalverError: there is no such method, or it has no such entry; the range is none.
    """

    def __init__(
        self,
        model: Any,
        method: str | Explanation = "gradient",
        *,
        absolute: bool = False,
        output: str | None = None,
        input_range: tuple[float, float] | None = None,
        **entries: Any,
    ) -> None:
        named = method_of(method, entries)
        self.method = named.model_copy(update={"absolute": absolute or named.absolute})
        self.model, self.output = model, output
        if input_range is not None:
            refuse_no_range(*input_range)
        self.input_range = input_range
        self._subject: Subject | None = None
        self._graph = cache(self._runtime)

    def attribute(self, inputs: Any, target: Any = None) -> Any:
        """The maps of a batch.

        Args:
            inputs: [batch, ...], an array or a tensor.
            target: the class that is explained: one for all, or one a row; None for the one that the network
                gives each row.

        Returns:
            Maps in the shape of the inputs, or [batch, 1, height, width] for a map of a layer; a tensor where
            `inputs` is one, else an array, of the same type.

        Raises:
            SalverError: the inputs are not the network's, there is no such class, or the method does not take
                the network.
        """
        tensor = hasattr(inputs, "detach")
        values = np.asarray(inputs.detach().cpu().numpy() if tensor else inputs)
        if values.ndim < 2 or not len(values):
            what = f"an array of shape {values.shape} is no batch"
            raise SalverError(what, "inputs", "give an array [batch, ...] with one input or more")
        x = values.reshape(len(values), -1).astype(np.float32)
        point = given_point(values[0])
        network = self._read(point).network
        if network.input_size != x.shape[1]:
            what = f"an input has {x.shape[1]} entries, the network takes {network.input_size}"
            raise SalverError(what, "inputs", "give inputs of the network")
        targets = self._targets(target, x)
        method = self._completed(values.shape[1:])
        maps = self._maps(x, targets, method).reshape(len(x), *self._shape(method, values.shape[1:]))
        if not tensor:
            return maps.astype(values.dtype if values.dtype.kind == "f" else np.float32)
        import torch

        return torch.from_numpy(maps).to(inputs)

    def _completed(self, shape: tuple[int, ...]) -> Explanation:
        """The method with what it needs to know of inputs of a shape.

        Raises:
            SalverError: it does not fit such inputs: a baseline out of range, a window larger than an input.
        """
        return self.method.for_data(shape, *entry_ranges(self.input_range, math.prod(shape)))

    def _maps(
        self, x: npt.NDArray[np.float32], targets: npt.NDArray[np.intp], method: Explanation
    ) -> npt.NDArray[np.float64]:
        found: dict[int, npt.NDArray[np.float64]] = {}
        for label in np.unique(targets).tolist():
            rows = np.flatnonzero(targets == label)
            runtime, logits = self._graph(method.of(label, method.minus))
            outputs = runtime.rows(x[rows])[:, logits:]
            found |= dict(zip(rows.tolist(), outputs, strict=True))
        return np.stack([found[row] for row in range(len(x))])

    def _targets(self, target: Any, x: npt.NDArray[np.float32]) -> npt.NDArray[np.intp]:
        if target is None:
            return np.asarray(evaluate(self._network, x.astype(np.float64)).argmax(axis=1))
        given = np.asarray(target.detach().cpu() if hasattr(target, "detach") else target)
        if given.dtype.kind not in "iu" or given.size not in (1, len(x)):
            what = f"{target!r:.60} names no classes for {len(x)} inputs"
            raise SalverError(what, "target", "give one class, or one for every input")
        return np.broadcast_to(given.ravel(), len(x)).astype(np.intp)

    def _read(self, point: GivenPoint) -> Subject:
        if self._subject is None:
            self._subject = subject_of(self.model, point.examples, self.output)
        return self._subject

    @property
    def _network(self) -> Network:
        assert self._subject is not None, "the network is read with the first inputs"
        return self._subject.network

    def _runtime(self, explanation: Explanation) -> tuple[Runtime, int]:
        """The graph for any number of rows, and how many logits come first."""
        model = with_free_batch(to_model(explanation.graph(self._network)))
        return Runtime(model.SerializeToString()), self._network.output_size

    def _shape(self, method: Explanation, given: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of a map as Captum gives it."""
        shape = method.map_shape(self._network, given)
        return (1, *shape) if shape != given and len(shape) == 2 else shape
