"""ONNX Runtime on the CPU, one thread: the arithmetic by which witnesses are judged."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


class Runtime:
    """A loaded model with one input and one output.

    Args:
        model: serialised ONNX.

    Raises:
        RuntimeError (or a subclass of ONNX Runtime's own): the model cannot be loaded.
    """

    def __init__(self, model: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0]

    def outputs(self, x: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Flat outputs, computed in float32, at one flat input `x` [n]."""
        shape = [size if isinstance(size, int) and size > 0 else 1 for size in self._input.shape]
        point = np.asarray(x, np.float32).reshape(shape)
        return np.asarray(self._session.run(None, {self._input.name: point})[0], np.float64).ravel()
