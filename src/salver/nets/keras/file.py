"""Reads Keras classifiers: `.keras` files of Keras 3, and HDF5 files (`.h5`) of any version.

The file is untrusted. Nothing in it is executed: no pickle, no Lambda layer, no class by name other than
those of `salver.nets.keras.layers`; no link to other files is followed; sizes are limited before anything is
read. What is left is the HDF5 library itself, which can loop for ever on a file whose inner structure is
broken, so that another process tries it first.
"""

from __future__ import annotations

import io
import json
import math
import re
import subprocess
import sys
import tempfile
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from salver.core.confined import UnfitFileError, read_regular
from salver.core.errors import SalverError, file_error
from salver.nets.keras import hdf5_probe
from salver.nets.keras.emitter import Config, LayerError
from salver.nets.keras.hdf5_probe import MOST_WEIGHTS
from salver.nets.keras.layers import weight_names
from salver.nets.keras.model import Path as LayerPath
from salver.nets.keras.model import to_onnx
from salver.nets.onnx.other_kinds import other_kind
from salver.nets.operators import Shape

Array = npt.NDArray[np.float32]
LARGEST_FILE = 256 * 2**20
LARGEST_CONFIG = 4 * 2**20
PROBE_S = 30
_ZIP, _HDF5 = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"
_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_MALFORMED = (
    OSError, ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError,
    zipfile.BadZipFile,
)  # fmt: skip
_HINT = "see docs/networks.md for the layers that are read, or model.export(..., format='onnx')"


def read_keras(path: Path) -> tuple[onnx.ModelProto, Shape]:
    """The network of a Keras file as ONNX, and the shape of its input X.

    Args:
        path: written by `model.save`, with its description and its weights.

    Returns:
        A model with X [1, channels, height, width] of an image, or else as Keras has it, and that shape
        without the batch.

    Raises:
        SalverError: there is no such file, it is no Keras model, it is too large, or it has a layer, an
            option or weights that are not supported.
    """
    try:
        content = read_regular(path, LARGEST_FILE)
    except UnfitFileError as error:
        raise SalverError(f"is {error.strerror}", str(path), "name a Keras file") from error
    except OSError as error:
        raise file_error(error, path, "read") from error
    if not content.startswith((_ZIP, _HDF5)):
        what, hint = other_kind(content) or ("is no Keras file", "name one that model.save has written")
        raise SalverError(what, str(path), hint)
    try:
        return _from_zip(content, path) if content.startswith(_ZIP) else _from_hdf5(content, path)
    except LayerError as error:
        raise SalverError(str(error), str(path), _HINT) from error
    except _MALFORMED as error:
        reason = " ".join(str(error).split())[:120]
        raise SalverError(f"cannot be read as a Keras model ({reason})", str(path), _HINT) from error


def _from_zip(content: bytes, path: Path) -> tuple[onnx.ModelProto, Shape]:
    """A file of Keras 3: a zip archive of the description and of the weights, which are HDF5."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        model = json.loads(_member(archive, _CONFIG, LARGEST_CONFIG))
        weights = _member(archive, _WEIGHTS, LARGEST_FILE)
    with _opened(weights, path) as file:
        return to_onnx(model, partial(_by_place, file, _Budget()))


def _member(archive: zipfile.ZipFile, name: str, most_bytes: int) -> bytes:
    if name not in archive.namelist():
        raise LayerError(f"no {name} in it: it is no Keras model")
    with archive.open(name) as stream:
        data = stream.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise LayerError(f"its {name} is larger than {most_bytes >> 20} MiB")
    return data


def _from_hdf5(content: bytes, path: Path) -> tuple[onnx.ModelProto, Shape]:
    with _opened(content, path) as file:
        text = file.attrs.get("model_config")
        if text is None:
            raise LayerError("no model_config: the file holds weights alone")
        if len(text) > LARGEST_CONFIG:
            raise LayerError("its model_config is too long")
        return to_onnx(json.loads(text), partial(_by_name, file["model_weights"], _Budget()))


def _opened(content: bytes, path: Path) -> Any:
    """The content as HDF5, after another process has read all of it: damage can hang the library for ever."""
    import h5py

    with tempfile.NamedTemporaryFile(suffix=".h5") as copy:
        copy.write(content)
        copy.flush()
        command = [sys.executable, "-I", hdf5_probe.__file__, copy.name]
        try:
            done = subprocess.run(command, check=False, timeout=PROBE_S, capture_output=True).returncode
        except subprocess.TimeoutExpired as error:
            raise SalverError(f"cannot be read within {PROBE_S} s", str(path), _HINT) from error
    if done:
        raise SalverError(f"breaks the HDF5 library (exit status {done})", str(path), _HINT)
    return h5py.File(io.BytesIO(content), "r")


class _Budget:
    """How many weights may still be read."""

    def __init__(self) -> None:
        self.left = MOST_WEIGHTS

    def spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise LayerError(f"more than {MOST_WEIGHTS} weights")


def _by_place(file: Any, budget: _Budget, path: LayerPath, kind: str, config: Config) -> dict[str, Array]:
    """Weights of a layer in a `.keras` file: `layers/dense_1/vars/0` is the second Dense layer's first."""
    names = weight_names(kind, config)
    if not names:
        return {}
    place = "/".join(f"layers/{_snake(kind)}" + (f"_{number}" if number else "") for kind, number, _ in path)
    group = _inside(file, f"{place}/vars")
    stated = group.attrs.get("name", path[-1][2])
    if stated != path[-1][2]:
        raise LayerError(f"weights of {str(stated)[:40]} where those of {path[-1][2]:.40} are expected")
    return {name: _values(group, str(number), budget) for number, name in enumerate(names)}


def _snake(kind: str) -> str:
    """A class's name as Keras writes it in a file: `re_lu` of ReLU."""
    spaced = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", kind))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", spaced).lower()


def _by_name(groups: Any, budget: _Budget, path: LayerPath, kind: str, config: Config) -> dict[str, Array]:
    """Weights of a layer in an HDF5 model, which lists them by name for each layer of the outermost model."""
    name = path[0][2]
    wanted = weight_names(kind, config)
    if not wanted or not name or "/" in name or name not in groups:
        return {}
    wanted += ["depthwise_kernel"]  # of a DepthwiseConv2D of Keras 2
    group, found = _inside(groups, name), {}
    for raw in group.attrs.get("weight_names", ()):
        stated = raw.decode() if isinstance(raw, bytes) else str(raw)
        *above, last = stated.split("/")
        if len(path) > 1 and (not above or above[-1] != path[-1][2]):
            continue
        short = last.split(":")[0]
        if short not in wanted:
            continue
        if short in found:
            raise LayerError(f"two weights {short:.40} of one layer")
        found[short] = _values(group, stated, budget)
    return found


def _values(group: Any, name: str, budget: _Budget) -> Array:
    """An array of single precision."""
    import h5py

    data = _inside(group, name)
    if not isinstance(data, h5py.Dataset) or data.dtype not in (np.float32, np.float64, np.float16):
        raise LayerError(f"weights {name[:60]} are not numbers")
    if data.is_virtual or data.external or data.compression not in (None, "gzip"):
        raise LayerError(f"weights {name[:60]} are stored outside the file or in an unknown way")
    budget.spend(math.prod(data.shape))
    stored = data[()]
    with np.errstate(over="ignore"):
        values = np.asarray(stored, np.float32)
    if (values != stored).any() and np.isfinite(stored).all():
        raise LayerError(f"weights {name[:60]} are in double precision, which is not supported")
    if not np.isfinite(values).all():
        raise LayerError(f"weights {name[:60]} are not finite")
    return values


def _inside(group: Any, name: str) -> Any:
    """What stands under a path in a file, reached by hard links alone."""
    import h5py

    here: Any = group
    for part in name.split("/"):
        if part in {"", ".", ".."} or not isinstance(here, h5py.Group) or part not in here:
            raise LayerError(f"weights {name[:60]} are not in the file")
        if not isinstance(here.get(part, getlink=True), h5py.HardLink):
            raise LayerError(f"weights {name[:60]} are a link")
        here = here[part]
    return here
