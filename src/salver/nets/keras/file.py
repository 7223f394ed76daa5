"""Reads a Keras classifier from HDF5: convolutions, ReLU, pooling and dense layers in sequence.

The file is untrusted. Nothing in it is executed: no pickle, no Lambda layer, no class by name other than
those listed here; no link to other files is followed; sizes are limited before anything is read. What is
left is the HDF5 library itself, which can loop for ever on a file whose inner structure is broken.
Keras keeps images as height, width, channel; salver flattens them as channel, height, width, so a dense
layer behind a flattening gets its columns in that order. The softmax of the last layer is dropped.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError
from salver.nets.keras import hdf5_probe
from salver.nets.keras.hdf5_probe import MOST_WEIGHTS
from salver.nets.keras.layers import Building, LayerError, add_layer
from salver.nets.network import Network, fold_scales, single

Array = npt.NDArray[np.float32]
LARGEST_FILE = 256 * 2**20
LARGEST_CONFIG = 2**20
MOST_LAYERS = 200
PROBE_S = 30
_MALFORMED = (
    OSError, ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
_HINT = "use a Sequential model of Conv2D, ReLU, pooling, Flatten and Dense layers saved by Keras as HDF5"


def read_keras(path: Path) -> tuple[Network, tuple[int, ...]]:
    """The network of a Keras HDF5 file, X [n] -> logits [m], and the shape of its input before flattening.

    Args:
        path: a file written by `model.save(...h5)`, with `model_config` and weights.

    Returns:
        A `Network`, and (channels, height, width) or (n,).

    Raises:
        SalverError: there is no such file, it is no HDF5 or no Sequential model, it is too large, or it has
            a layer, an option or weights that are not supported.
    """
    import h5py

    if not path.is_file():
        raise SalverError("no such file", str(path), "name a Keras HDF5 file")
    if path.stat().st_size > LARGEST_FILE:
        raise SalverError(f"larger than {LARGEST_FILE >> 20} MB", str(path), "use a smaller network")
    _survives(path)
    try:
        with h5py.File(path, "r") as file:
            layers = _layers(file)
            building = Building()
            for config in layers:
                name = str(config["config"].get("name", ""))
                add_layer(building, config["class_name"], config["config"], _weights(file, name))
            return single(fold_scales(building.network()), str(path)), building.input_shape
    except LayerError as error:
        raise SalverError(str(error), str(path), _HINT) from error
    except _MALFORMED as error:
        raise _unreadable(path, error) from error


def _survives(path: Path) -> None:
    """Reads the file in a process of its own first: a damaged one can hang the HDF5 library for ever."""
    command = [sys.executable, "-I", hdf5_probe.__file__, str(path.resolve())]
    try:
        done = subprocess.run(command, check=False, timeout=PROBE_S, capture_output=True).returncode
    except subprocess.TimeoutExpired as error:
        raise SalverError(f"cannot be read within {PROBE_S} s", str(path), _HINT) from error
    if done:
        raise SalverError(f"breaks the HDF5 library (exit status {done})", str(path), _HINT)


def _unreadable(path: Path, error: Exception) -> SalverError:
    reason = " ".join(str(error).split())[:120]
    return SalverError(f"cannot be read as a Keras model ({reason})", str(path), _HINT)


def _layers(file: Any) -> list[dict[str, Any]]:
    text = file.attrs.get("model_config")
    if text is None:
        raise LayerError("no model_config: the file holds weights alone")
    if len(text) > LARGEST_CONFIG:
        raise LayerError("its model_config is too long")
    model = json.loads(text)
    kind = model.get("class_name") if isinstance(model, dict) else None
    if kind != "Sequential":
        raise LayerError(f"a model of class {str(kind)[:40]}, not Sequential")
    inner = model["config"]
    layers = inner["layers"] if isinstance(inner, dict) else inner
    if len(layers) > MOST_LAYERS:
        raise LayerError(f"more than {MOST_LAYERS} layers")
    for layer in layers:
        if not isinstance(layer, dict) or not isinstance(layer.get("config"), dict):
            raise LayerError("a layer without a configuration")
    return list(layers)


def _weights(file: Any, layer: str) -> dict[str, Array]:
    """Arrays of one layer by their short names, such as kernel and bias."""
    import h5py

    groups = file["model_weights"]
    if not layer or "/" in layer or layer not in groups:
        return {}
    group = groups[layer]
    found: dict[str, Array] = {}
    total = 0
    for raw in group.attrs.get("weight_names", ()):
        name = raw.decode() if isinstance(raw, bytes) else str(raw)
        _refuse_links(group, name)
        data = group[name]
        if not isinstance(data, h5py.Dataset) or data.dtype not in (np.float32, np.float64, np.float16):
            raise LayerError(f"weights {name[:60]} are not numbers")
        if data.is_virtual or data.external or data.compression not in (None, "gzip"):
            raise LayerError(f"weights {name[:60]} are stored outside the file or in an unknown way")
        total += math.prod(data.shape)
        if total > MOST_WEIGHTS:
            raise LayerError(f"more than {MOST_WEIGHTS} weights")
        stored = data[()]
        with np.errstate(over="ignore"):
            values = np.asarray(stored, np.float32)
        if (values != stored).any() and np.isfinite(stored).all():
            raise LayerError(f"weights {name[:60]} are in double precision, which is not supported")
        if not np.isfinite(values).all():
            raise LayerError(f"weights {name[:60]} are not finite")
        found[name.rsplit("/", 1)[-1].split(":")[0]] = values
    return found


def _refuse_links(group: Any, name: str) -> None:
    import h5py

    here: Any = group
    for part in name.split("/"):
        if part in {"", ".", ".."} or not isinstance(here, h5py.Group):
            raise LayerError(f"weights {name[:60]} are not in the file")
        if not isinstance(here.get(part, getlink=True), h5py.HardLink):
            raise LayerError(f"weights {name[:60]} are a link")
        here = here[part]
