"""vg_paper: the very queries of the two tables of Le et al. (ACML 2024), from the user's data folder.

Table 1 is BanditNet at xhat = [1, 1, 0, 1, 1] over the whole unit cube; table 2 is `mnist-net_256x2` of
VNN-COMP 2022 over the boxes of ten of its properties. The paper tests one target class at a time; here
an instance asks for any of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from salver.core.errors import SalverError
from salver.explain.gradient import Gradient
from salver.families.factory import Box, InstanceFactory, Point, PosedQuestion
from salver.families.generator import Generator, InstanceDraft, Parameters
from salver.families.instance import Vacuity
from salver.families.nearest import sample_delta_star
from salver.families.other_class import SameMap
from salver.nets.network import Network
from salver.nets.onnx.reader import read_onnx
from salver.nets.operators import Linear, Node, Relu
from salver.spec import read_vnnlib
from salver.zoo.datasets.places import locate_user_data

Array = npt.NDArray[np.float64]
BANDIT_NETWORK, MNIST_NETWORK = Path("banditnet.npz"), Path("mnist_fc", "mnist-net_256x2.onnx")
BANDIT_XHAT = (1.0, 1.0, 0.0, 1.0, 1.0)


class VgPaperParameters(Parameters):
    """Which table, with which tolerances."""

    table: Literal["bandit", "mnist"] = Field(description="table 1 or table 2 of the paper")
    deltas: tuple[float, ...] = Field(min_length=1, description="saliency tolerances")
    regions: tuple[str, ...] = Field(default=(), description="image_epsilon pairs of mnist_fc")


class VgPaper(Generator):
    name = "vg_paper"
    title = "vg_box as Le et al. asked it (ACML 2024), on their networks"
    falsified = SameMap.falsified
    parameters = VgPaperParameters

    def files(self, params: VgPaperParameters) -> Iterator[Path]:
        folder = _paper_folder(params.data_dir)
        if params.table == "bandit":
            yield folder / BANDIT_NETWORK
        else:
            yield folder / MNIST_NETWORK
            yield from (_region_file(folder, region) for region in params.regions)

    def instances(self, params: VgPaperParameters, seed: int) -> Iterator[InstanceDraft]:
        folder = _paper_folder(params.data_dir)
        if params.table == "bandit":
            yield from _bandit(folder, params, seed)
        else:
            yield from _mnist(folder, params, seed)


def _paper_folder(data_dir: Path | None) -> Path:
    root = data_dir or locate_user_data()
    if root is None or not (root / "paper").is_dir():
        where = str(root) if root else "SALVER_DATA"
        hint = (
            "point --data-dir or SALVER_DATA at the folder that holds paper/banditnet.npz and paper/mnist_fc/"
        )
        raise SalverError("no folder `paper` with the paper's networks", where, hint)
    return root / "paper"


def _bandit(folder: Path, params: VgPaperParameters, seed: int) -> Iterator[InstanceDraft]:
    classifier = _bandit_network(folder / BANDIT_NETWORK)
    factory = InstanceFactory("vg_box", classifier, "banditnet", "bandit", (5,), (0.0, 1.0), exact=True)
    x = np.array(BANDIT_XHAT, np.float32)
    yield from _drafts(_posed(factory, 0, x), 1.0, factory.box(x, 1.0), "paper-bandit", params, seed)


def _posed(
    factory: InstanceFactory, index: int, x: np.ndarray[tuple[int], np.dtype[np.float32]]
) -> PosedQuestion:
    point = Point(index, x, int(factory.predict(x[None])[0]))
    return factory.pose(point, SameMap(), Gradient(logit=point.label))


def _drafts(
    posed: PosedQuestion, epsilon: float, box: Box, name: str, params: VgPaperParameters, seed: int
) -> Iterator[InstanceDraft]:
    found = sample_delta_star(posed, epsilon, seed, box=box)
    for delta in params.deltas:
        asked, vacuity = posed.asking(delta=delta), Vacuity(delta_star_upper=found.finite)
        yield asked.draft(epsilon, found, vacuity, box=box, name=f"{name}-d{delta:g}")


def _bandit_network(path: Path) -> Network:
    try:
        with np.load(path, allow_pickle=False) as stored:
            weights = [stored[f"W{i}"].astype(np.float32) for i in (1, 2, 3)]
            biases = [stored[f"b{i}"].astype(np.float32) for i in (1, 2, 3)]
    except (OSError, KeyError, ValueError) as error:
        raise SalverError(f"cannot be read ({error})", str(path), "restore the file") from error
    nodes, size, source = [], 5, "X"
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        matrix = weight if weight.shape[1] == size else weight.T
        size = len(matrix)
        nodes.append(
            Node(f"z{number}", Linear(np.ascontiguousarray(matrix), bias.ravel()), (source,), (size,))
        )
        source = f"z{number}"
        if number < 2:
            nodes.append(Node(f"a{number}", Relu(), (source,), (size,)))
            source = f"a{number}"
    return Network("X", 5, tuple(nodes), source)


def _mnist(folder: Path, params: VgPaperParameters, seed: int) -> Iterator[InstanceDraft]:
    classifier = read_onnx(folder / MNIST_NETWORK)
    factory = InstanceFactory("vg_box", classifier, "mnist-net_256x2", "mnist_fc", (1, 28, 28), (0.0, 1.0))
    for region in params.regions:
        image, _, radius = region.partition("_")
        prop = read_vnnlib(_region_file(folder, region))
        epsilon, box = float(radius), (_binary32(prop.input_lower), _binary32(prop.input_upper))
        posed = _posed(factory, int(image), _centre(*box, epsilon))
        yield from _drafts(posed, epsilon, box, f"paper-mnist-{region}", params, seed)


def _region_file(folder: Path, region: str) -> Path:
    return folder / "mnist_fc" / f"prop_{region}.vnnlib.gz"


def _binary32(values: Array) -> Array:
    """The nearest binary32 numbers: the file's bounds are decimals, those of an instance are not."""
    return values.astype(np.float32).astype(np.float64)


def _centre(low: Array, high: Array, epsilon: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """xhat from the clipped box: hi - eps (at least 0) where the low side was cut off, else lo + eps."""
    centre = np.where(low <= 0, np.maximum(high - epsilon, 0.0), low + epsilon)
    return np.clip(centre, low, high).astype(np.float32)
