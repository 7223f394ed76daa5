"""training_pairs: one architecture trained in several regimes, asked the same three questions.

Per regime, training seed and test point: label robustness, vg_box (same saliency, other class) and
ranking stability, with the same points and the same absolute tolerances for all, so that counts of
different regimes can be compared pair by pair. The points are those that every network in the
comparison classifies correctly and ranks without ties, in a seeded order.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydantic import Field

from salver.core.errors import SalverError
from salver.explain.gradient import Gradient
from salver.explain.ranking import UndefinedConditionError
from salver.families.chosen import NamedPoints
from salver.families.factory import InstanceFactory, Point
from salver.families.generator import BY_QUESTION, Generator, InstanceDraft
from salver.families.instance import Training, Vacuity
from salver.families.nearest import sample_delta_star
from salver.families.other_class import SameMap
from salver.families.questions import LabelChanges, TopKChanges
from salver.families.ranking_measures import epsilon_star, ranking_draft
from salver.nets.torch_bridge import from_torch
from salver.zoo.datasets import Dataset, load


class TrainingPairsParameters(NamedPoints):
    """What a suite may say about this family."""

    network: str = Field(description="zoo key of the plain network; the regimes' keys add -<regime>")
    regimes: tuple[str, ...] = Field(
        default=("plain", "wd", "softplus", "guided", "r2et", "adv"),
        min_length=2,
        description="plain and suffixes of the network's other keys in the zoo",
    )
    network_seeds: tuple[int, ...] | None = Field(
        default=None, min_length=1, description="training seeds; the suite's seed when not given"
    )
    points: int = Field(default=3, gt=0, description="how many test points to use")
    label_epsilons: tuple[float, ...] = Field(default=(), description="radii of the label questions")
    box_epsilons: tuple[float, ...] = Field(default=(), description="radii of the vg_box questions")
    deltas: tuple[float, ...] = Field(default=(), description="saliency tolerances of vg_box, absolute")
    rank_epsilons: tuple[float, ...] = Field(default=(), description="radii of the ranking questions")
    k: int = Field(default=5, gt=0, description="size of the top-k set")
    enumerate: bool = Field(default=False, description="find the exact answers (small networks only)")


Trained = tuple[Training, InstanceFactory]


class TrainingPairs(Generator):
    name = "training_pairs"
    title = "networks of several training regimes: label_robustness, vg_box and topk_rank"
    falsified = BY_QUESTION
    parameters = TrainingPairsParameters

    def instances(self, params: TrainingPairsParameters, seed: int) -> Iterator[InstanceDraft]:
        if not (params.label_epsilons or (params.box_epsilons and params.deltas) or params.rank_epsilons):
            hint = "give label_epsilons, rank_epsilons, or box_epsilons with deltas"
            raise SalverError("no question is asked", params.network, hint)
        networks, data = _networks(params, seed)
        used = 0
        for index in _chosen_points(params, networks, data, seed):
            point = Point(index, data.test_x[index], int(data.test_y[index]))
            try:
                drafts = [
                    draft.with_facts(training=training)
                    for training, net in networks
                    for draft in _of_point(net, point, params, seed)
                ]
            except UndefinedConditionError:
                continue
            yield from drafts
            used += 1
            if used == params.wanted:
                return
        if used < params.wanted:
            what = f"only {used} test points are classified correctly and ranked without ties by all networks"
            raise SalverError(what, params.network, "lower points, skip or k, or name others")


def _networks(params: TrainingPairsParameters, seed: int) -> tuple[list[Trained], Dataset]:
    from salver.zoo.networks import ZOO, trained

    keys = {r: params.network if r == "plain" else f"{params.network}-{r}" for r in params.regimes}
    missing = [key for key in keys.values() if key not in ZOO]
    if missing:
        raise SalverError(f"the zoo has no {missing[0]}", "training_pairs", f"choose among {', '.join(ZOO)}")
    data = load(ZOO[params.network].dataset, params.data_dir)
    networks = []
    for own_seed in params.network_seeds or (seed,):
        for regime, key in keys.items():
            classifier = from_torch(trained(ZOO[key], own_seed, params.data_dir), data.test_x.shape[1])
            common = (f"{key}-s{own_seed}", data.name, data.input_shape, data.clip)
            training = Training(regime=regime, network_seed=own_seed)
            net = InstanceFactory("training_pairs", classifier, *common, exact=params.enumerate)
            networks.append((training, net))
    return networks, data


def _chosen_points(
    params: TrainingPairsParameters, networks: list[Trained], data: Dataset, seed: int
) -> list[int]:
    """Test points that all networks classify correctly: those that are named, or all in a seeded order."""
    order = np.random.default_rng([seed, 17]).permutation(len(data.test_x))
    right = np.all([net.predict(data.test_x) == data.test_y for _, net in networks], axis=0)
    common = [int(i) for i in order if right[i]]
    if other := [index for index in params.indices if index not in common]:
        what = f"point {other[0]} of {data.name} is none that all networks classify correctly"
        raise SalverError(what, params.network, "name others")
    return list(params.indices) or common[params.skip :]


def _of_point(
    net: InstanceFactory, point: Point, params: TrainingPairsParameters, seed: int
) -> Iterator[InstanceDraft]:
    gradient = Gradient(logit=point.label)
    label, same = net.pose(point, LabelChanges()), net.pose(point, SameMap(), gradient)
    for epsilon in sorted({*params.label_epsilons, *params.box_epsilons}):
        if epsilon in params.label_epsilons:
            found = label.extreme(epsilon, seed)
            yield label.draft(epsilon, found, Vacuity(extreme=found.value))
        if epsilon in params.box_epsilons:
            found = sample_delta_star(same, epsilon, seed)
            vacuity = Vacuity(delta_star_upper=found.finite)
            for delta in params.deltas:
                yield same.asking(delta=delta).draft(epsilon, found, vacuity)
    if params.rank_epsilons:
        rank = net.pose(point, TopKChanges(k=params.k), gradient.model_copy(update={"absolute": True}))
        found = epsilon_star(rank, max(params.rank_epsilons), seed)
        for epsilon in params.rank_epsilons:
            yield ranking_draft(rank, epsilon, found, seed)
