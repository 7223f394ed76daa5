"""ONNX Runtime on the CPU, one thread: the arithmetic by which witnesses are judged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import onnx

_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64}


class Runtime:
    """A loaded model.

    Args:
        model: serialised ONNX.
        names: tensors that count as its output, one after the other; all outputs where none are named.

    Raises:
        RuntimeError (or a subclass of ONNX Runtime's own): the model cannot be loaded.
    """

    def __init__(self, model: bytes, names: Sequence[str] = ()) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._names = list(names) or None

    def outputs(self, x: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Flat outputs at one flat input `x` [n], all inputs one after the other, rounded to their types."""
        point, feeds, first = np.ravel(np.asarray(x)), {}, 0
        for given in self._session.get_inputs():
            shape = [size if isinstance(size, int) and size > 0 else 1 for size in given.shape]
            count = math.prod(shape)
            feeds[given.name] = point[first : first + count].reshape(shape).astype(_TYPES[given.type])
            first += count
        if first != point.size:
            raise ValueError(f"the model has {first} inputs, {point.size} are given")
        values = self._session.run(self._names, feeds)
        return np.concatenate([np.asarray(value, np.float64).ravel() for value in values])

    def samples(self, x: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Outputs [p, m] at `x` [p, n] of a model with one input, in calls of as many rows as it fixes."""
        (given,) = self._session.get_inputs()
        fixed = given.shape[0] if len(given.shape) > 1 and isinstance(given.shape[0], int) else 1
        rows = max(1, fixed)
        if rows == 1:
            return np.stack([self.outputs(row) for row in x])
        padded = np.concatenate([x, np.repeat(x[-1:], -len(x) % rows, axis=0)])
        found = [self.outputs(padded[first : first + rows]) for first in range(0, len(padded), rows)]
        return np.concatenate([part.reshape(rows, -1) for part in found])[: len(x)]

    def rows(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Outputs [k, m] of one call with all of `x` [k, n], for a model with one input and a free batch.

        Raises:
            Exception: one of ONNX Runtime's own, where the model does not take k rows.
        """
        (given,) = self._session.get_inputs()
        (value,) = self._session.run(self._names, {given.name: x.reshape(-1, *given.shape[1:])})
        return np.asarray(value, np.float64).reshape(len(x), -1)


def with_free_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that leaves the first axis of inputs and outputs open, as verifiers that work in batches do."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]
    weights = {tensor.name for tensor in copy.graph.initializer}
    for tensor in (*copy.graph.input, *copy.graph.output):
        if tensor.name not in weights and tensor.type.tensor_type.shape.dim:
            tensor.type.tensor_type.shape.dim[0].dim_param = "batch"
    return copy
