"""Rankings: the order-statistics form against the definition, in numpy and in the graph; sampled measures."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from salver.core.errors import SalverError
from salver.explain.gradient import Gradient
from salver.explain.ranking import (
    MOST_PAIRS,
    Ranking,
    UndefinedConditionError,
    enough_departed,
    ranking_of,
    some_pair_flips,
    someone_overtaken,
    with_departures,
    with_overtakers,
)
from salver.families.conditions import class_is
from salver.families.factory import InstanceFactory, Point
from salver.families.questions import TopKChanges
from salver.families.ranking_measures import epsilon_star, sample_measures
from salver.families.registry import generators
from salver.nets.network import Network, evaluate, lower
from salver.nets.operators import Abs, Concat, Linear, Node
from salver.oracle.enumerate import enumerate_query
from salver.solvers.attack.ranking_attack import RankingTarget
from salver.spec import Property
from salver.spec.truth import Truth
from salver.zoo import networks as zoo
from salver.zoo.networks import ZOO, trained
from tests.builders.small_queries import relu_network


def possible_top_sets(saliency: np.ndarray, k: int) -> list[set[int]]:
    """Every top-k set that some order among equals allows: no entry outside exceeds one inside."""
    features = set(range(len(saliency)))
    return [
        set(chosen)
        for chosen in combinations(range(len(saliency)), k)
        if min(saliency[i] for i in chosen) >= max(saliency[j] for j in features - set(chosen))
    ]


def absolute_values(features: int) -> Network:
    """X -> Concat[one logit, |X|]: a gradient network whose saliency is at our command."""
    nodes = (
        Node("logit", Linear(np.ones((1, features), np.float32), np.zeros(1, np.float32)), ("X",), (1,)),
        Node("saliency", Abs(), ("X",), (features,)),
        Node("Y", Concat(), ("logit", "saliency"), (features + 1,)),
    )
    return Network("X", features, nodes, "Y")


@st.composite
def rankings(draw: st.DrawFn) -> tuple[Ranking, np.ndarray]:
    features = draw(st.integers(2, 7))
    k = draw(st.integers(1, features - 1))
    inside = np.array(sorted(draw(st.permutations(range(features)))[:k]), dtype=np.intp)
    leave = draw(st.integers(1, min(k, features - k)))
    saliency = draw(st.lists(st.integers(0, 4), min_size=features, max_size=features))
    outside = np.setdiff1d(np.arange(features), inside)
    return Ranking(inside, outside, leave), np.array(saliency, dtype=np.float64)


def departed(ranking: Ranking, saliency: np.ndarray) -> np.ndarray:
    """#{i in T : c_i >= r} at saliencies [batch, n], from the definition."""
    members, others = saliency[:, ranking.inside], saliency[:, ranking.outside]
    above = (others[:, None, :] >= members[:, :, None]).sum(axis=2)
    return (above >= ranking.leave).sum(axis=1)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(rankings())
def test_all_forms_say_what_the_definition_says(case: tuple[Ranking, np.ndarray]) -> None:
    ranking, saliency = case
    k, members = len(ranking.inside), set(ranking.inside.tolist())
    staying = min(len(members & top) for top in possible_top_sets(saliency, k))
    broken = staying < k - ranking.leave + 1

    assert (ranking.margin(saliency) >= 0) == broken
    assert (departed(ranking, saliency[None])[0] >= ranking.leave) == broken
    assert ranking.precision_at_k(saliency[None])[0] == pytest.approx(staying / k)

    graph = with_departures(absolute_values(ranking.features), ranking)
    signed = saliency * np.where(np.arange(len(saliency)) % 2, -1.0, 1.0)
    outputs = evaluate(graph, signed[None])[0]
    assert outputs[-1] == departed(ranking, saliency[None])[0]
    assert np.array_equal(lower(graph).evaluate(signed[None])[0][0], outputs)
    relaxed = Property(signed, signed, (enough_departed(1, ranking),), graph.output_size)
    assert relaxed.outputs_satisfied(outputs) == broken

    pairs = Property(signed, signed, (some_pair_flips(1, ranking),), graph.output_size)
    assert pairs.outputs_satisfied(outputs) == (staying < k)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(rankings(), st.data())
def test_a_set_stays_inside_a_larger_one_as_the_definition_says(
    case: tuple[Ranking, np.ndarray], data: st.DataObject
) -> None:
    ranking, saliency = case
    k = len(ranking.inside)
    within = data.draw(st.integers(k, ranking.features - 1))
    others = [np.delete(saliency, i) >= saliency[i] for i in ranking.inside]
    broken = any(above.sum() >= within for above in others)

    graph = with_overtakers(absolute_values(ranking.features), ranking)
    signed = saliency * np.where(np.arange(len(saliency)) % 2, -1.0, 1.0)
    outputs = evaluate(graph, signed[None])[0]
    clause = someone_overtaken(1, ranking, within - k + 1)
    assert Property(signed, signed, (clause,), graph.output_size).outputs_satisfied(outputs) == broken
    assert np.array_equal(lower(graph).evaluate(signed[None])[0][0], outputs)
    if within == k:
        pairs = Property(signed, signed, (some_pair_flips(1, ranking),), graph.output_size)
        assert pairs.outputs_satisfied(outputs) == broken


def test_ranking_of_a_map() -> None:
    ranking = ranking_of(np.array([3.0, 0.0, 5.0, 1.0]), 2)
    assert ranking.inside.tolist() == [0, 2]
    assert ranking.outside.tolist() == [1, 3]


@pytest.mark.parametrize("saliency", [np.ones(4), np.zeros(4), np.array([3.0, 1.0, 1.0, 0.0])])
def test_ties_at_rank_k_leave_the_ranking_undefined(saliency: np.ndarray) -> None:
    with pytest.raises(UndefinedConditionError, match="tied"):
        ranking_of(saliency, 2)


@pytest.mark.parametrize(("k", "leave"), [(4, 1), (5, 1), (2, 3), (3, 2), (2, 0)])
def test_a_k_that_does_not_fit_is_an_error(k: int, leave: int) -> None:
    with pytest.raises(SalverError):
        ranking_of(np.arange(4.0), k, leave)


def test_too_many_pairs_are_refused() -> None:
    features = 2 * int(np.ceil(np.sqrt(MOST_PAIRS))) + 2
    ranking = ranking_of(np.arange(float(features)), features // 2, 2)
    for count in (with_departures, with_overtakers):
        with pytest.raises(SalverError, match="pairs"):
            count(absolute_values(features), ranking)


def test_thickness_is_the_share_of_points_in_order() -> None:
    ranking = Ranking(np.array([0, 2]), np.array([1]))
    saliency = np.array([[3.0, 2.0, 1.0], [3.0, 2.0, 2.5], [1.0, 2.0, 2.0], [5.0, 0.0, 1.0]])
    assert ranking.thickness(saliency).tolist() == [[0.75], [0.5]]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_epsilon_star_is_an_upper_bound_with_a_witness(seed: int) -> None:
    generator = np.random.default_rng(seed)
    classifier = relu_network([4, 5, 3], generator)
    centre = generator.uniform(-1, 1, 4).astype(np.float32).astype(np.float64)
    label = int(lower(classifier).evaluate(centre)[0][0].argmax())
    factory = InstanceFactory("topk_rank", classifier, "n", "d", (4,), (-9.0, 9.0))
    point = Point(0, centre.astype(np.float32), label)
    posed = factory.pose(point, TopKChanges(k=2), Gradient(logit=label, absolute=True))
    program = posed.map.lowered
    target = RankingTarget(label, 3, posed.question.ranking)
    found, again = (epsilon_star(posed, 2.0, seed) for _ in range(2))
    assert found.value == again.value

    def truth(radius: float) -> Truth:
        sides = ((centre + s * radius).astype(np.float32).astype(np.float64) for s in (-1, 1))
        clauses = (*class_is(label, 3), some_pair_flips(3, target.ranking))
        return enumerate_query(posed.graph, Property(*sides, clauses, posed.graph.output_size)).truth

    if found.point is None:
        assert truth(1.0) is not Truth.SAT or np.isinf(found.value)
        return
    assert np.abs(found.point - centre).max() == found.value
    assert target.margin(program.evaluate(found.point[None])[0])[0] > 0
    assert truth(1.001 * found.value) is Truth.SAT
    # The search is no proof, but on networks of five neurons it comes within a fifth of the truth.
    assert truth(0.8 * found.value) is Truth.UNSAT

    measured = sample_measures(posed, 1e-9, seed)
    assert (measured.label_kept, measured.precision_min, measured.thickness_min) == (1.0, 1.0, 1.0)


def drafts(**options: object) -> list[object]:
    family = generators()["topk_rank"]()
    return list(family.instances(family.parameters(**options), 0))


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"k": 30}, "k: 30 is not between 1 and 29"),
        ({"k": 20, "stay": 1}, "20 members cannot leave a top-20 set"),
        ({"k": 4, "stay": 5}, "5 of 4 members cannot stay"),
        ({"k": 4, "epsilons": []}, "neither epsilons nor epsilon_factors"),
        ({"k": 4, "epsilons": [-0.1]}, "not positive"),
        ({"k": 4, "epsilons": [float("nan")]}, "not positive"),
        ({"k": 4, "dataset": "iris", "network": "none.onnx"}, "none.onnx"),
    ],
)
def test_options_that_do_not_fit_are_one_clear_line(options: dict[str, object], what: str) -> None:
    with pytest.raises(SalverError) as caught:
        drafts(**{"network": "breast-16x16", "points": 1, "epsilons": [0.01], **options})
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_data_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALVER_CACHE", str(tmp_path))
    monkeypatch.delenv("SALVER_DATA", raising=False)
    with pytest.raises(SalverError, match="salver data fetch adult") as caught:
        drafts(network="adult-32x32-r2et", k=8, epsilons=[0.01])
    assert "\n" not in str(caught.value)


def test_a_constant_saliency_gives_an_error_and_no_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    module = trained(ZOO["breast-16x16"], 0)
    with torch.no_grad():
        for layer in module[:-1]:
            for parameter in layer.parameters():
                parameter.zero_()
    monkeypatch.setattr(zoo, "trained", lambda *_: module)
    with pytest.raises(SalverError, match="no test point has a top-k set without ties"):
        drafts(network="breast-16x16", k=4, epsilons=[0.01], min_open=0)
