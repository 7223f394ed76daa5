"""The network that is asked about: a file, a module of PyTorch, or a network that was read before."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError
from salver.nets.network import Network, single

Array = npt.NDArray[np.float64]
TOLERANCE = 1e-4
"""Difference between the original and what was read of it, relative to the largest output."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A classifier.

    Attributes:
        network: X [n] -> logits [m].
        name: in sentences.
        file: where it was read from; None for one in memory.
        input_shape: shape of one input as the original declares it; empty where it does not.
        original: the outputs [m] of the original at a point [n], where there is one to compare with.
    """

    network: Network
    name: str
    file: Path | None = None
    input_shape: tuple[int, ...] = ()
    original: Callable[[Array], Array] | None = None

    def refuse_misread(self, x: Array) -> None:
        """Compares the original with what was read of it at x [n].

        Raises:
            SalverError: they differ.
        """
        from salver.nets.network import evaluate

        if self.original is None:
            return
        expected, found = self.original(x), evaluate(self.network, x[None])[0]
        scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
        if (
            expected.shape != found.shape
            or float(np.abs(expected - found).max(initial=0.0)) > TOLERANCE * scale
        ):
            what = "gives other outputs at the point than what was read of it"
            raise SalverError(what, self.name, "this is a fault of the reader: please report the network")


def subject_of(model: Any, point_shape: tuple[int, ...]) -> Subject:
    """The classifier that a person names or hands over.

    Args:
        model: a path, a `Network`, or a module of PyTorch in evaluation mode.
        point_shape: of the point, which a module with convolutions takes its shape from.

    Raises:
        SalverError: it is none of these, or cannot be read.
    """
    if isinstance(model, str | Path):
        return _in_file(Path(model))
    if isinstance(model, Network):
        return Subject(single(model, "the network"), "the network")
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(model, torch.nn.Module):
        return _of_module(model, point_shape)
    what = f"{type(model).__name__} is no network"
    raise SalverError(what, "model", "give a path, a torch.nn.Module or what salver.read_onnx returns")


def _in_file(path: Path) -> Subject:
    from salver.nets.keras.file import read_keras
    from salver.nets.onnx.declared import inputs_of
    from salver.nets.onnx.file import load_model, network_name
    from salver.nets.onnx.reader import from_model
    from salver.nets.runtime import Runtime

    if path.suffix.lower() in {".h5", ".hdf5"}:
        network, shape = read_keras(path)
        return Subject(network, path.stem, path, shape)
    model = load_model(path)
    network = single(from_model(model, str(path)), str(path))
    axes = inputs_of(model.graph)[0].type.tensor_type.shape.dim
    shape = tuple(axis.dim_value for axis in axes)[1:]
    runtime = Runtime(model.SerializeToString())
    return Subject(network, network_name(path), path, shape if all(shape) else (), runtime.outputs)


def _of_module(module: Any, point_shape: tuple[int, ...]) -> Subject:
    import torch

    from salver.nets.torch_bridge import from_torch

    size = int(np.prod(point_shape))
    shaped = (
        torch.nn.Sequential(torch.nn.Unflatten(1, point_shape), module) if len(point_shape) > 1 else module
    )
    network = from_torch(shaped, size)

    def original(x: Array) -> Array:
        with torch.no_grad():
            found = shaped(torch.tensor(x[None], dtype=next(module.parameters()).dtype))
        return np.asarray(found.double().numpy().ravel())

    return Subject(network, type(module).__name__, None, point_shape, original)
