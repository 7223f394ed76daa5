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
from pydantic import Field

from salver.core.errors import SalverError
from salver.families.generator import Generator, InstanceDraft, Parameters
from salver.families.vanilla import Condition, Point, VanillaQuery, pairings
from salver.nets.network import Network
from salver.nets.onnx.reader import read_onnx
from salver.nets.operators import Linear, Node, Relu
from salver.spec import Property, read_vnnlib
from salver.zoo.datasets.places import locate_user_data

BANDIT_NETWORK, MNIST_NETWORK = Path("banditnet.npz"), Path("mnist_fc", "mnist-net_256x2.onnx")
BANDIT_XHAT = (1.0, 1.0, 0.0, 1.0, 1.0)


class VgPaperParameters(Parameters):
    """Which table, with which tolerances."""

    table: Literal["bandit", "mnist"] = Field(description="table 1 or table 2 of the paper")
    deltas: tuple[float, ...] = Field(min_length=1, description="saliency tolerances")
    regions: tuple[str, ...] = Field(default=(), description="image_epsilon pairs of mnist_fc")


class VgPaper(Generator):
    name = "vg_paper"
    title = "the published queries of Le et al. (ACML 2024)"
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
        mend = (
            "point --data-dir or SALVER_DATA at the folder that holds paper/banditnet.npz and paper/mnist_fc/"
        )
        raise SalverError("no folder `paper` with the paper's networks", where, mend)
    return root / "paper"


def _bandit(folder: Path, params: VgPaperParameters, seed: int) -> Iterator[InstanceDraft]:
    query = VanillaQuery(_bandit_network(folder / BANDIT_NETWORK), "banditnet", "bandit", (5,), (0.0, 1.0))
    x = np.array(BANDIT_XHAT, np.float32)
    point = Point(0, x, int(query.predict(x[None])[0]))
    (pairing,) = pairings(query, point, "reference", "logit", "all")
    comparison = query.compare(pairing, point, 1.0, seed)
    for delta in params.deltas:
        name = f"paper-bandit-d{delta:g}"
        yield query.draft(comparison, Condition("box"), delta, exact=True, name=name)


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
    query = VanillaQuery(classifier, "mnist-net_256x2", "mnist_fc", (1, 28, 28), (0.0, 1.0))
    for region in params.regions:
        image, _, radius = region.partition("_")
        prop = read_vnnlib(_region_file(folder, region))
        epsilon = float(radius)
        x = _centre(prop, epsilon)
        point = Point(int(image), x, int(query.predict(x[None])[0]))
        (pairing,) = pairings(query, point, "reference", "logit", "all")
        box = (prop.input_lower, prop.input_upper)
        comparison = query.compare_within(pairing, point, epsilon, box, seed)
        for delta in params.deltas:
            name = f"paper-mnist-{region}-d{delta:g}"
            yield query.draft(comparison, Condition("box"), delta, name=name)


def _region_file(folder: Path, region: str) -> Path:
    return folder / "mnist_fc" / f"prop_{region}.vnnlib.gz"


def _centre(prop: Property, epsilon: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """xhat from the clipped box: hi - eps (at least 0) where the low side was cut off, else lo + eps."""
    low, high = prop.input_lower, prop.input_upper
    centre = np.where(low <= 0, np.maximum(high - epsilon, 0.0), low + epsilon)
    return np.clip(centre, low, high).astype(np.float32)
