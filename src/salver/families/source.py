"""Where a family's classifier and points come from: a zoo key, or an ONNX file with data."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from salver.core.errors import SalverError, suggestion
from salver.explain.ranking import UndefinedConditionError
from salver.families.factory import InstanceFactory, Point
from salver.families.generator import InstanceDraft, Parameters, names_a_file
from salver.families.instance import DataCard
from salver.families.search import significant
from salver.nets.classifier import KERAS, read_classifier
from salver.nets.network import Network
from salver.nets.onnx.file import network_name
from salver.nets.torch_bridge import from_torch
from salver.zoo.datasets import NAMES, Dataset, DataSource, load, open_dataset, open_point

BATCH = 256
"""Rows that a network is asked about at once."""


class NetworkParameters(Parameters):
    """What every family on a network's points lets a suite say.

    The label of a point is the class that the network gives it, which is the class that is explained. Of a
    misclassified point the facts also hold the data's own label.
    """

    network: str = Field(description="a zoo key, or an ONNX file by its path from the suite")
    output: str | None = Field(default=None, description="which of an ONNX file's outputs holds the scores")
    dataset: DataSource | None = Field(
        default=None, description="data of an ONNX classifier: a name, or a path with what is not in the file"
    )
    points: int = Field(default=5, gt=0, description="how many test points to use")
    skip: int = Field(default=0, ge=0, description="how many candidate points to pass over first")
    which: Literal["correct", "misclassified", "all"] | None = Field(
        default=None, description="points to choose from; correct ones, or those that are named"
    )
    indices: tuple[int, ...] = Field(default=(), description="the test points themselves, counted from 0")
    point: Path | None = Field(default=None, description="one input of your own in an .npy file")
    point_label: int | None = Field(default=None, ge=0, description="its class; the network's when not given")

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if self.indices and self.point is not None:
            raise ValueError("indices and point both name points; give one of them")
        if self.named and (both := sorted({"points", "skip"} & self.model_fields_set)):
            raise ValueError(f"{both[0]} has no meaning where indices or point name the points; leave it out")
        if self.point_label is not None and self.point is None:
            raise ValueError("point_label is the class of `point`, which is not given")
        if len(set(self.indices)) < len(self.indices):
            raise ValueError("indices name a point twice")
        return self

    @property
    def named(self) -> bool:
        """Whether the points are named one by one."""
        return bool(self.indices) or self.point is not None

    @property
    def wanted(self) -> int:
        """How many points are asked for."""
        return (len(self.indices) or 1) if self.named else self.points

    def unused(self, used: Collection[int]) -> str:
        """What to say where some points asked for give no instance."""
        if not self.named:
            return super().unused(used)
        left = ", ".join(str(index) for index in self.indices if index not in used)
        return f"nothing can be asked at {left} of the points named"


class RadiusParameters(NetworkParameters):
    """The same for families that choose radii by a smallest one that was sampled, epsilon*."""

    epsilons: tuple[float, ...] = Field(default=(), description="radii of the input box")
    epsilon_factors: tuple[float, ...] = Field(default=(), description="radii in sampled epsilon*")
    enumerate: bool = Field(default=False, description="find the exact answer (small networks only)")

    def radii(self, star: float) -> tuple[float, ...]:
        """The radii asked for, where epsilon* is `star`; relative ones are left out where it is inf."""
        relative = [significant(f * star) for f in self.epsilon_factors if np.isfinite(star)]
        return tuple(dict.fromkeys([*self.epsilons, *relative]))


def over_points(
    params: NetworkParameters,
    seed: int,
    family: str,
    of_point: Callable[[InstanceFactory, Point], Iterator[InstanceDraft]],
    nothing: tuple[str, str],
) -> Iterator[InstanceDraft]:
    """The drafts of the points that the parameters name, or of the first `params.points` that give any.

    Points whose map gives the question no meaning are passed over.

    Args:
        nothing: what to say, and how to put it right, where no point gives a draft.

    Raises:
        SalverError: as `classifier_and_data` and `chosen_points`; no radii where the family has some; no
            point gives a draft.
    """
    where = f"{family} on {params.network}"
    if isinstance(params, RadiusParameters) and not (params.epsilons or params.epsilon_factors):
        raise SalverError("neither epsilons nor epsilon_factors given", where, "give one of them")
    classifier, data = classifier_and_data(params, seed, family)
    name = network_name(Path(params.network))
    described = (data.name, data.input_shape, data.clip, card_of(data))
    factory = InstanceFactory(family, classifier, name, *described)
    used = 0
    for point in chosen_points(params, factory, data, seed):
        try:
            drafts = list(of_point(factory, point))
        except UndefinedConditionError:
            continue
        yield from drafts
        used += bool(drafts)
        if used == params.wanted:
            return
    if used == 0:
        raise SalverError(nothing[0], where, nothing[1])


def card_of(data: Dataset) -> DataCard | None:
    """What a set says of data of one's own; None for a set of the catalogue."""
    if data.name in NAMES:
        return None
    return DataCard(name=data.name, sha256=data.sha256, classes=data.classes, features=data.features)


def classifier_and_data(params: NetworkParameters, seed: int, family: str) -> tuple[Network, Dataset]:
    """The classifier of a suite's entry and the data it is explained on.

    Raises:
        SalverError: neither a zoo key nor an .onnx file with data, missing data, inputs or classes that
            differ, or a file that is not read right.
    """
    from salver.explain.reference import probes, refuse_misread
    from salver.zoo.networks import ZOO, trained

    network, where = params.network, f"{family}: {params.network}"
    if network in ZOO:
        spec = ZOO[network]
        data = load(spec.dataset, params.data_dir)
        classifier = from_torch(trained(spec, seed, params.data_dir), data.test_x.shape[1])
        if params.dataset is not None:
            data = _opened(params.dataset, params.data_dir)
            refuse_other_network(classifier, data, params.dataset.path, where)
        return classifier, with_point(params, classifier, data)
    path = Path(network)
    if not path.name.lower().endswith((".onnx", ".onnx.gz", *KERAS)):
        hint = f"{suggestion(network, ZOO, 8)} (docs/networks.md), or name an .onnx file and its `dataset`"
        raise SalverError("no network of that name", where, hint)
    if params.dataset is None and params.point is None:
        hint = "add `dataset`, the data that the network was trained on, or a `point` (docs/own-network.md)"
        raise SalverError("a network in a file needs data", where, hint)
    found = read_classifier(path, params.output)
    classifier = found.network
    known = None
    if params.dataset is not None:
        known = _opened(params.dataset, params.data_dir)
        refuse_other_network(classifier, known, params.dataset.path, where)
    data = with_point(params, classifier, known)
    data = in_shape(found.shape, data, where)
    if found.model is not None:
        points = probes(classifier, *probed(data), on_kinks=False)
        refuse_misread(found.model, classifier, points, str(path))
    return classifier, data


def _opened(source: DataSource, data_dir: Path | None) -> Dataset:
    if source.path not in NAMES and not names_a_file(source.path) and Path(source.path).is_dir():
        # Whatever a suite names as a file or folder is hashed, so it must be known for one.
        raise SalverError("is a folder", source.path, f"write it with a slash: {source.path}/")
    return open_dataset(source.path, source, data_dir)


def refuse_other_network(classifier: Network, data: Dataset, name: str, where: str) -> None:
    """Refuses data of another number of inputs or classes than a network has.

    Raises:
        SalverError: it does not fit.
    """
    inputs, outputs = classifier.input_size, classifier.output_size
    if inputs != data.test_x.shape[1]:
        what = f"takes {inputs} inputs, {name} has {data.test_x.shape[1]}"
        raise SalverError(what, where, "choose the data that the network was trained on")
    if data.classes and len(data.classes) != outputs:
        what = f"gives {outputs} classes, {name} has {len(data.classes)}"
        hint = "name every class in the order of the network's outputs (class_names)"
        raise SalverError(what, where, hint)
    if (largest := int(data.test_y.max())) >= outputs:
        what = f"gives classes 0 to {outputs - 1}, row {int(data.test_y.argmax())} of {name} has {largest}"
        raise SalverError(what, where, "number the classes from 0 in the order of the network's outputs")


def in_shape(declared: tuple[int, ...], data: Dataset, where: str) -> Dataset:
    """The data with the shape of images that a network declares, where its own rows are flat.

    Raises:
        SalverError: the sides of its images are the network's in another order.
    """
    shape = data.input_shape
    if len(declared) != 3 or 0 in declared or len(shape) not in (1, 3):
        return data
    if len(shape) == 1:
        return replace(data, input_shape=declared)
    sides = [[side for side in one if side > 1] for one in (declared, shape)]
    if sides[0] != sides[1] and sorted(sides[0]) == sorted(sides[1]):
        own, theirs = (" x ".join(map(str, one)) for one in (declared, shape))
        what = f"takes images of {own}, {data.name} has {theirs}"
        hint = 'say layout = "hwc" where the network has its channels last, file_layout where the file has'
        raise SalverError(what, where, hint)
    return data


def with_point(params: NetworkParameters, classifier: Network, data: Dataset | None) -> Dataset:
    """The data, or in its place the one point that the parameters name.

    Raises:
        SalverError: the point does not fit the network or the data's ranges.
    """
    if params.point is None:
        assert data is not None
        return data
    label = params.point_label
    if label is not None and label >= classifier.output_size:
        what = f"point_label {label} is not below the network's {classifier.output_size} classes"
        raise SalverError(what, str(params.point), "number the classes from 0")
    found = open_point(params.point, classifier.input_size, data)
    return replace(found, test_y=found.test_y if label is None else np.array([label]))


def probed(data: Dataset) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Ends [n], [n] between which a network is tried: the data's ranges, or its rows' where it has none."""
    if data.clip is not None:
        return data.bounds
    rows = data.test_x.astype(np.float64)
    return rows.min(axis=0) - 1, rows.max(axis=0) + 1


def chosen_points(
    params: NetworkParameters, factory: InstanceFactory, data: Dataset, seed: int
) -> Iterator[Point]:
    """The points that the parameters name, or all that may be chosen, in a seeded order.

    Raises:
        SalverError: there is no such point, or none that may be chosen.
    """
    if params.named:
        order = np.array(params.indices or [0])
        _refuse_missing(order, data)
    else:
        order = np.random.default_rng([seed, 17]).permutation(len(data.test_x))
    which = params.which or ("all" if params.named else "correct")
    candidates = 0
    for point in _seen(order, params, factory, data):
        if which == "all" or (point.data_label is None) == (which == "correct"):
            candidates += 1
            if candidates > params.skip:
                yield point
        elif params.named:
            done = "misclassifies" if which == "correct" else "classifies correctly"
            what = f"{factory.name} {done} point {point.index} of {data.name}"
            raise SalverError(what, f'which = "{which}"', "leave `which` out, or name other points")
    _refuse_none(params, candidates, data, factory.name)


def _seen(
    order: npt.NDArray[np.intp], params: NetworkParameters, factory: InstanceFactory, data: Dataset
) -> Iterator[Point]:
    """Points as the network sees them, looked at a few hundred at a time: seldom are all of them needed."""
    unlabelled = params.point is not None and params.point_label is None
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        for index, given in zip(rows.tolist(), factory.predict(data.test_x[rows]).tolist(), strict=True):
            own = int(data.test_y[index])
            yield Point(index, data.test_x[index], given, None if unlabelled or own == given else own)


def _refuse_missing(order: npt.NDArray[np.intp], data: Dataset) -> None:
    rows = len(data.test_x)
    for index in order.tolist():
        if not 0 <= index < rows:
            what, hint = f"there is no point {index}", f"it has points 0 to {rows - 1}"
            raise SalverError(what, f"indices of {data.name}", hint)


def _refuse_none(params: NetworkParameters, candidates: int, data: Dataset, name: str) -> None:
    kind = {"misclassified": "misclassified ", "all": ""}.get(params.which or "", "correctly classified ")
    if candidates == 0 and params.which == "misclassified":
        raise SalverError(f"{name} misclassifies no point of {data.name}", "which", "choose correct points")
    if candidates == 0:
        hint = "compare the order of its classes, and how inputs are scaled, with its training"
        raise SalverError(f"classifies no point of {data.name} correctly", name, hint)
    if params.skip >= candidates:
        what = f"{data.name} has {candidates} {kind}points, and all are passed over"
        raise SalverError(what, f"skip = {params.skip}", f"choose a number below {candidates}")
