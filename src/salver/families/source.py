"""Where a family's classifier and points come from: a zoo key, or an ONNX file with data."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from salver.core.errors import SalverError, suggestion
from salver.explain.ranking import UndefinedConditionError
from salver.families.chosen import PointChoice, chosen_points
from salver.families.factory import InstanceFactory, Point
from salver.families.generator import Generator, InstanceDraft
from salver.families.instance import DataCard
from salver.families.named_files import names_a_file
from salver.families.search import significant
from salver.nets.classifier import read_classifier
from salver.nets.network import Network
from salver.nets.onnx.file import network_name
from salver.nets.onnx.other_kinds import KERAS
from salver.nets.torch_bridge import from_torch
from salver.spec import Norm
from salver.zoo.datasets import NAMES, Dataset, DataSource, load, open_dataset, open_point


class NetworkParameters(PointChoice):
    """What every family on a network's points lets a suite say."""

    network: str = Field(description="a zoo key, or an ONNX file by its path from the suite")
    output: str | None = Field(default=None, description="which of an ONNX file's outputs holds the scores")
    dataset: DataSource | None = Field(
        default=None, description="data of an ONNX classifier: a name, or a path with what is not in the file"
    )


class WithinParameters(NetworkParameters):
    """The same for families that ask about all inputs within a radius."""

    norm: Norm = Field(default="linf", description="of the radii: linf is a box, l2 a ball cut to the range")
    enumerate: bool = Field(default=False, description="find the exact answer (small networks only)")

    @model_validator(mode="after")
    def _enumerable(self) -> Self:
        if self.enumerate and self.norm != "linf":
            raise ValueError("answers are enumerated over boxes only; leave out enumerate, or norm")
        return self


class RadiusParameters(WithinParameters):
    """The same for families that choose radii by a smallest one that was sampled, epsilon*."""

    epsilons: tuple[float, ...] = Field(default=(), description="radii of the input box or ball")
    epsilon_factors: tuple[float, ...] = Field(
        default=(), description="radii as multiples of a sampled epsilon*"
    )

    def radii(self, star: float) -> tuple[float, ...]:
        """The radii asked for, where epsilon* is `star`; relative ones are left out where it is inf."""
        relative = [significant(f * star) for f in self.epsilon_factors if np.isfinite(star)]
        return tuple(dict.fromkeys([*self.epsilons, *relative]))


class PointFamily(Generator):
    """A family that asks at points of a network's data: those that are named, or the first that give a draft.

    Points whose map gives the question no meaning are passed over.

    Attributes:
        nothing: what to say, and how to put it right, where no point gives a draft.
    """

    nothing: ClassVar[tuple[str, str]]

    @abstractmethod
    def of_point(
        self, factory: InstanceFactory, point: Point, params: Any, seed: int
    ) -> Iterator[InstanceDraft]:
        """The drafts of one point.

        Raises:
            UndefinedConditionError: the map there gives the question no meaning.
        """

    def instances(self, params: Any, seed: int) -> Iterator[InstanceDraft]:
        """As `Generator.instances`.

        Raises:
            SalverError: as `classifier_and_data` and `chosen_points`; no radii where the family has some; no
                point gives a draft.
        """
        where = params.network
        if isinstance(params, RadiusParameters) and not (params.epsilons or params.epsilon_factors):
            raise SalverError("neither epsilons nor epsilon_factors given", where, "give one of them")
        classifier, data = classifier_and_data(params, seed)
        described = (data.name, data.input_shape, data.clip, card_of(data))
        asked = (params.norm, params.enumerate) if isinstance(params, WithinParameters) else ()
        factory = InstanceFactory(self.name, classifier, network_name(Path(where)), *described, *asked)
        used = 0
        for point in chosen_points(params, factory, data, seed):
            try:
                drafts = list(self.of_point(factory, point, params, seed))
            except UndefinedConditionError:
                continue
            yield from drafts
            used += bool(drafts)
            if used == params.wanted:
                return
        if used == 0:
            what, hint = self.nothing
            raise SalverError(what, where, hint)


def card_of(data: Dataset) -> DataCard | None:
    """What a set says of data of one's own; None for a set of the catalogue."""
    if data.name in NAMES:
        return None
    return DataCard(name=data.name, sha256=data.sha256, classes=data.classes, features=data.features)


def classifier_and_data(params: NetworkParameters, seed: int) -> tuple[Network, Dataset]:
    """The classifier of a suite's entry and the data it is explained on.

    Raises:
        SalverError: neither a zoo key nor an .onnx file with data, missing data, inputs or classes that
            differ, or a file that is not read right.
    """
    from salver.explain.reference import probes, refuse_misread
    from salver.zoo.networks import ZOO, trained

    network = where = params.network
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
    found.tell(str(path))
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
        hint = "number the classes from 0 in the order of the network's outputs"
        if outputs == 1:
            what = f"has one output, row {int(data.test_y.argmax())} of {name} has class {largest}"
            hint = "let a network of two classes give two scores, such as -z/2 and z/2 of its z"
        raise SalverError(what, where, hint)


def in_shape(declared: tuple[int, ...], data: Dataset, where: str) -> Dataset:
    """The data with the shape of images that a network declares, where its own rows are flat.

    Raises:
        SalverError: the sides of its images are the network's in another order.
    """
    refuse_other_order(declared, data.input_shape, data.name, where)
    flat = len(data.input_shape) == 1 and len(declared) == 3 and 0 not in declared
    return replace(data, input_shape=declared) if flat else data


def refuse_other_order(declared: tuple[int, ...], shape: tuple[int, ...], name: str, where: str) -> None:
    """Refuses an image for a network that takes its sides in another order.

    Args:
        declared: shape of an input of the network; shape: of the image, which `name` has.

    Raises:
        SalverError: the sides are the network's in another order.
    """
    if len(declared) != 3 or 0 in declared or len(shape) != 3:
        return
    sides = [[side for side in one if side > 1] for one in (declared, shape)]
    if sides[0] != sides[1] and sorted(sides[0]) == sorted(sides[1]):
        own, theirs = (" x ".join(map(str, one)) for one in (declared, shape))
        what = f"takes images of {own}, {name} has {theirs}"
        hint = (
            'turn the array, or say of the data set: layout = "hwc" where the network has its channels last, '
            "file_layout where the file has them elsewhere"
        )
        raise SalverError(what, where, hint)


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
