"""Where a family's classifier and points come from: a zoo key, or an ONNX file with a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from pydantic import Field

from salver.core.errors import SalverError, suggestion
from salver.explain.ranking import UndefinedConditionError
from salver.families.factory import InstanceFactory, Point
from salver.families.generator import InstanceDraft, Parameters
from salver.families.search import significant
from salver.nets.classifier import KERAS, read_classifier
from salver.nets.network import Network, lower
from salver.nets.onnx.file import network_name
from salver.nets.torch_bridge import from_torch
from salver.zoo.datasets import Dataset, load


class NetworkParameters(Parameters):
    """What every family on a network's test points lets a suite say."""

    network: str = Field(description="a zoo key, or an ONNX file by its path from the suite")
    output: str | None = Field(default=None, description="which of an ONNX file's outputs holds the scores")
    dataset: str | None = Field(default=None, description="data set of an ONNX classifier")
    points: int = Field(default=5, gt=0, description="how many test points to use")
    skip: int = Field(default=0, ge=0, description="how many candidate points to pass over first")


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
    """The drafts of the first `params.points` correctly classified points that give any.

    Points whose map gives the question no meaning are passed over.

    Args:
        nothing: what to say, and how to put it right, where no point gives a draft.

    Raises:
        SalverError: as `classifier_and_data`; no radii where the family has some; no point gives a draft.
    """
    where = f"{family} on {params.network}"
    if isinstance(params, RadiusParameters) and not (params.epsilons or params.epsilon_factors):
        raise SalverError("neither epsilons nor epsilon_factors given", where, "give one of them")
    named = (params.network, params.dataset)
    classifier, data = classifier_and_data(*named, seed, params.data_dir, family, params.output)
    name = network_name(Path(params.network))
    factory = InstanceFactory(family, classifier, name, data.name, data.input_shape, data.clip)
    used = 0
    for index in correct_points(classifier, data, seed)[params.skip :]:
        try:
            drafts = list(of_point(factory, Point(index, data.test_x[index], int(data.test_y[index]))))
        except UndefinedConditionError:
            continue
        yield from drafts
        used += bool(drafts)
        if used == params.points:
            return
    if used == 0:
        raise SalverError(nothing[0], where, nothing[1])


def classifier_and_data(
    network: str,
    dataset: str | None,
    seed: int,
    data_dir: Path | None,
    family: str,
    output: str | None = None,
) -> tuple[Network, Dataset]:
    """The classifier of a suite's entry and the data it is explained on.

    Raises:
        SalverError: neither a zoo key nor an .onnx file with `dataset`, missing data, or inputs that differ.
    """
    from salver.explain.reference import probes, refuse_misread
    from salver.zoo.networks import ZOO, trained

    if network in ZOO:
        spec = ZOO[network]
        data = load(spec.dataset, data_dir)
        return from_torch(trained(spec, seed, data_dir), data.test_x.shape[1]), data
    path = Path(network)
    if not path.name.lower().endswith((".onnx", ".onnx.gz", *KERAS)):
        hint = f"{suggestion(network, ZOO, 8)} (docs/networks.md), or name an .onnx file and its `dataset`"
        raise SalverError("no network of that name", f"{family}: {network}", hint)
    if dataset is None:
        hint = "add `dataset`, the data set that the network was trained on"
        raise SalverError("a network in a file needs a data set", f"{family}: {network}", hint)
    found, data = read_classifier(path, output), load(dataset, data_dir)
    classifier = found.network
    if classifier.input_size != data.test_x.shape[1]:
        what = f"takes {classifier.input_size} inputs, {dataset} has {data.test_x.shape[1]}"
        raise SalverError(what, f"{family}: {network}", "choose the data set the network was trained on")
    if found.model is not None:
        points = probes(classifier, *data.clip, on_kinks=False)
        refuse_misread(found.model, classifier, points, str(path))
    return classifier, data


def correct_points(classifier: Network, data: Dataset, seed: int) -> list[int]:
    """Correctly classified test points in a seeded order."""
    order = np.random.default_rng([seed, 17]).permutation(len(data.test_x))
    logits = lower(classifier).evaluate(np.asarray(data.test_x, np.float64))[0]
    right = np.argmax(logits, axis=1) == data.test_y
    return [int(i) for i in order if right[i]]
