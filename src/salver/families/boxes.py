"""Networks and boxes of a VNN-COMP benchmark: where saliency questions can be asked about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError, plain_reason, suggestion
from salver.explain.reference import probes, refuse_misread
from salver.families.given import benchmark_rows
from salver.nets.classifier import read_classifier
from salver.nets.network import Network
from salver.nets.onnx.file import network_name
from salver.spec import float32_down, float32_up
from salver.spec.plain import input_box
from salver.spec.terms import read_term_query
from salver.zoo.datasets.places import locate_user_data

Array = npt.NDArray[np.float64]
FOLDER = "vnncomp"
"""Folder of benchmarks in the data folder."""


@dataclass(frozen=True, eq=False)
class NamedBox:
    """The box of a query: the query's file, its number among the network's, and bounds [n], [n]."""

    query: Path
    number: int
    low: Array
    high: Array

    def around(self, x: npt.NDArray[np.float32], factor: float) -> tuple[Array, Array]:
        """The box scaled by `factor` around a point [n] of it, rounded outwards to binary32."""
        if factor == 1.0:
            return float32_down(self.low), float32_up(self.high)
        centre = x.astype(np.float64)
        return (
            float32_down(centre - factor * (centre - self.low)),
            float32_up(centre + factor * (self.high - centre)),
        )


@dataclass(frozen=True)
class BoxedNetwork:
    """A network's file with the queries about it, in the order of the list."""

    file: Path
    queries: tuple[Path, ...]

    @property
    def name(self) -> str:
        """Its name in file names."""
        return network_name(self.file)

    def boxes(self, most: int) -> list[NamedBox]:
        """Different boxes of its queries, at most so many.

        Raises:
            SalverError: a query that cannot be read, or leaves an input without bounds.
        """
        found: dict[bytes, NamedBox] = {}
        for number, query in enumerate(self.queries):
            if len(found) == most:
                break
            low, high = input_box(read_term_query(query), str(query))
            found.setdefault(low.tobytes() + high.tobytes(), NamedBox(query, number, low, high))
        return list(found.values())

    def read(self, boxes: Sequence[NamedBox]) -> tuple[Network, tuple[int, ...]]:
        """The network, held against ONNX Runtime at points of its boxes' range, and the shape of its input.

        An input of three axes is an image (channels, height, width) unless one of its sides is 1.

        Raises:
            SalverError: it cannot be read, or takes other inputs than the box has.
        """
        classifier = read_classifier(self.file)
        classifier.tell(str(self.file))
        network = classifier.network
        for box in boxes:
            if network.input_size != len(box.low):
                what = f"takes {network.input_size} inputs, {box.query.name} bounds {len(box.low)}"
                raise SalverError(what, str(self.file), "correct instances.csv")
        low, high = min(box.low.min() for box in boxes), max(box.high.max() for box in boxes)
        found = probes(network, float(low), float(high))
        if classifier.model is not None:
            refuse_misread(classifier.model, network, found, str(self.file))
        axes = classifier.shape
        is_image = len(axes) == 3 and min(axes[1:]) > 1 and int(np.prod(axes)) == network.input_size
        return network, axes if is_image else (network.input_size,)


def point_in(box: NamedBox, file: str | None) -> npt.NDArray[np.float32]:
    """xhat [n]: the middle of a box, or the point in a `.npy` file, which must lie in it.

    Raises:
        SalverError: the file cannot be read, or holds no point of the box.
    """
    if file is None:
        middle: npt.NDArray[np.float32] = (box.low + (box.high - box.low) / 2).astype(np.float32)
        return middle
    try:
        x: npt.NDArray[np.float32] = np.load(file, allow_pickle=False).ravel().astype(np.float32)
    except (OSError, ValueError, EOFError) as error:
        raise SalverError(
            f"cannot be read ({plain_reason(error)})", file, "write it with numpy.save"
        ) from error
    if x.shape != box.low.shape or not ((x >= float32_down(box.low)) & (x <= float32_up(box.high))).all():
        what = f"is no point of the box of {box.query.name}, which has {len(box.low)} entries"
        raise SalverError(what, file, "choose queries whose box holds it with `only`")
    return x


def benchmark_folder(benchmark: str, data_dir: Path | None) -> Path:
    """The folder of a benchmark: a path, or a name below `vnncomp/` in the data folder.

    Raises:
        SalverError: there is none.
    """
    if "/" in benchmark:
        return Path(benchmark)
    root = data_dir or locate_user_data()
    folder = (root or Path()) / FOLDER
    if root is None or not (folder / benchmark).is_dir():
        there = sorted(path.name for path in folder.iterdir()) if root and folder.is_dir() else []
        near = suggestion(benchmark, there)
        where = str(folder) if root else "SALVER_DATA"
        hint = f"{near or 'put VNN-COMP benchmarks there'}, or name a folder by a path with a `/`"
        raise SalverError(f"no benchmark {benchmark!r}", where, hint)
    return folder / benchmark


def boxed_networks(folder: Path, patterns: Sequence[str] = ()) -> list[BoxedNetwork]:
    """The networks of a benchmark, in the order of its list; queries over several networks are passed over.

    Args:
        patterns: of `network/query` names, such as `cifar_base*/*img8194*`; any, where none is given.

    Raises:
        SalverError: it is no benchmark, or nothing fits.
    """
    found: dict[Path, list[Path]] = {}
    names: list[str] = []
    for networks, query in benchmark_rows(folder):
        names.append(f"{network_name(networks[0])}/{query.name.partition('.vnnlib')[0]}")
        if len(networks) == 1 and (not patterns or any(fnmatchcase(names[-1], one) for one in patterns)):
            found.setdefault(networks[0], []).append(query)
    if not found:
        hint = f"patterns are of network/query, such as {names[0]}"
        raise SalverError(f"no query of it fits {', '.join(patterns) or 'one network'}", str(folder), hint)
    return [BoxedNetwork(file, tuple(queries)) for file, queries in found.items()]
