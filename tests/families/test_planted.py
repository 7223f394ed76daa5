"""Planted answers: what was built in holds, is not given away, and a plant that is broken is noticed."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from salver.core.errors import SalverError
from salver.families import planted_sat, planted_unsat
from salver.families.chosen import chosen_points
from salver.families.factory import InstanceFactory, Point
from salver.families.needle import HEIGHT, Shape, needle
from salver.families.planted_sat import Planting, check_planted, found_by_attack, planted_drafts
from salver.families.questions import LabelChanges
from salver.families.registry import generators
from salver.families.source import NetworkParameters, classifier_and_data
from salver.nets.graft import GraftedPart, graft
from salver.nets.network import evaluate, lower
from salver.oracle.enumerate import enumerate_query
from salver.oracle.intervals import RationalBounds, refuted
from salver.spec import Property
from salver.spec.property import Atom
from salver.spec.truth import Evidence, Truth
from tests.builders.small_queries import random_query, relu_network

SIZE = 12


@pytest.fixture(scope="module")
def digits() -> tuple[InstanceFactory, list[Point]]:
    params = NetworkParameters(network="digits-16x16")
    classifier, data = classifier_and_data(params, 0)
    source = InstanceFactory("test", classifier, "digits-16x16", data.name, data.input_shape, data.clip)
    return source, list(itertools.islice(chosen_points(params, source, data, 0), 60))


def _part(rng: np.random.Generator, tilt: float = 0.0) -> tuple[GraftedPart, np.ndarray]:
    point = rng.uniform(0.1, 0.9, SIZE).astype(np.float32).astype(np.float64)
    lean = np.zeros(SIZE)
    lean[3] = tilt
    weight = np.array([0.0, 1.0, 0.0])
    return needle(np.zeros(SIZE), np.ones(SIZE), point, Shape(3, 4), weight, lean, rng), point


def _height(part: GraftedPart, x: np.ndarray) -> np.ndarray:
    inner = np.maximum(x @ part.first.T + part.first_bias, 0.0)
    return np.maximum(inner @ part.second.T + part.second_bias, 0.0) @ part.head.T + part.bias


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("tilt", [0.0, 0.05])
def test_a_needle_stands_at_its_point_and_nowhere_else(seed: int, tilt: float) -> None:
    rng = np.random.default_rng(seed)
    part, point = _part(rng, tilt)
    assert _height(part, point[None])[0] == pytest.approx([0.0, HEIGHT, 0.0], abs=1e-9)
    away = rng.uniform(0.0, 1.0, (2000, SIZE))
    assert (_height(part, away)[:, 1] > 0).mean() < 0.01
    step = np.eye(SIZE)[3] * 1e-6
    slope = (_height(part, (point + step)[None]) - _height(part, point[None]))[0, 1] / 1e-6
    assert slope == pytest.approx(tilt, abs=1e-6)


@pytest.mark.parametrize("hidden", [[5, 4], [5]])
def test_a_graft_adds_its_part_to_the_logits(hidden: list[int]) -> None:
    rng = np.random.default_rng(1)
    base = relu_network([SIZE, *hidden, 3], rng)
    part, point = _part(rng)
    joined = graft(base, part, rng)
    x = np.vstack([rng.uniform(0.0, 1.0, (20, SIZE)), point])
    assert np.allclose(evaluate(joined.classifier, x), evaluate(base, x) + _height(part, x), atol=1e-4)
    first = next(node for node in joined.classifier.nodes if node.name == joined.tensor)
    ratios = first.operator.weight[joined.rows] / part.first.astype(np.float32)
    assert (ratios == np.exp2(np.round(np.log2(ratios)))).all()


@pytest.mark.slow
@pytest.mark.parametrize("question", ["vg_box", "label", "topk_rank"])
def test_planted_points_hold_and_are_kept_secret(digits, monkeypatch, question: str) -> None:
    source, points = digits
    seen = []
    monkeypatch.setattr(
        planted_sat, "check_planted", lambda draft, x: seen.append(x) or check_planted(draft, x)
    )
    planting = Planting(question, 0.01 if question == "topk_rank" else 0.02, Shape(6, 4), 1, 5)
    (draft,) = next(filter(None, (list(planted_drafts(source, p, planting, 0)) for p in points)))
    assert (draft.facts.expected, draft.facts.evidence) == (Truth.SAT, Evidence.PLANTED)
    assert draft.facts.planted.attack_missed == 32
    x = seen[-1]
    told = draft.facts.model_dump_json()
    assert not any(f"{v:.6g}" in told for v in x if v not in (0.0, 1.0))
    other = np.clip(x + 0.5 * (draft.prop.input_upper - x), draft.prop.input_lower, draft.prop.input_upper)
    with pytest.raises(SalverError, match="misses"):
        check_planted(draft, other)


@pytest.mark.slow
def test_a_plant_whose_class_does_not_win_stops_the_generator(digits, monkeypatch) -> None:
    source, points = digits
    monkeypatch.setattr(planted_sat, "LEAD", -0.01)
    planting = Planting("vg_box", 0.02, Shape(6, 4), 0, 5)
    with pytest.raises(SalverError, match="misses"):
        [d for p in points for d in planted_drafts(source, p, planting, 0)]


@pytest.mark.slow
def test_what_an_attack_finds_is_left_out(digits, monkeypatch) -> None:
    source, points = digits
    planting = Planting("vg_box", 0.02, Shape(6, 4), 1, 5)
    index, _ = next((i, d) for i, p in enumerate(points) for d in planted_drafts(source, p, planting, 0))
    monkeypatch.setattr(planted_sat, "found_by_attack", lambda *_: True)
    assert not list(planted_drafts(source, points[index], planting, 0))


@pytest.fixture(scope="module")
def gated(digits):
    source, points = digits
    caught = {}
    original = planted_unsat.check_planted

    def keep(draft, grafted, gates):
        caught["all"] = (draft, grafted, gates)
        original(draft, grafted, gates)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planted_unsat, "check_planted", keep)
        gating = planted_unsat.Gating(0.008, 2, 1.0)
        drafts = (list(planted_unsat.planted_drafts(source, p, gating, 0)) for p in points)
        (draft,) = next(filter(None, drafts))
    return draft, *caught["all"]


@pytest.mark.slow
def test_planted_unsat_hangs_on_its_saliency_condition(gated) -> None:
    draft, _, _, gates = gated
    assert (draft.facts.expected, draft.facts.evidence) == (Truth.UNSAT, Evidence.PLANTED)
    for gate in gates:
        logits = evaluate(draft.classifier, gate.corner[None])[0]
        assert logits.argmax() != draft.facts.label
    program = lower(draft.graph)
    x = np.random.default_rng(0).uniform(draft.prop.input_lower, draft.prop.input_upper, (5000, 64))
    assert draft.prop.margin(program.evaluate(x)[0]).max() < 0


@pytest.mark.slow
def test_without_its_saliency_condition_it_is_not_proved(gated) -> None:
    _, draft, grafted, gates = gated
    loose = Property(
        draft.prop.input_lower, draft.prop.input_upper, draft.prop.clauses[-1:], draft.prop.output_count
    )
    with pytest.raises(SalverError, match="a gate open"):
        planted_unsat.check_planted(replace(draft, prop=loose), grafted, gates)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SAFE", 0.5, "a gate open"),
        ("LIFT", -5.0, "does not change the class"),
        ("COPIES", (1.0, 0.7), "no multiples"),
    ],
)
def test_a_broken_gate_stops_the_generator(
    digits, monkeypatch, name: str, value: object, message: str
) -> None:
    source, points = digits
    monkeypatch.setattr(planted_unsat, name, value)
    gating = planted_unsat.Gating(0.008, 2, 1.0)
    with pytest.raises(SalverError, match=message):
        [d for p in points[:12] for d in planted_unsat.planted_drafts(source, p, gating, 0)]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_interval_bounds_hold_and_refute_nothing_that_is_sat(tmp_path, seed: int) -> None:
    query = random_query(tmp_path, seed)
    prop = query.prop
    bounds = RationalBounds.of(query.network, prop, {})
    low, high = (np.array([float(v) for v in side]) for side in bounds.values[query.network.output])
    x = np.random.default_rng(seed).uniform(prop.input_lower, prop.input_upper, (2000, len(prop.input_lower)))
    outputs = query.program.evaluate(x)[0]
    assert (outputs >= low - 1e-9).all()
    assert (outputs <= high + 1e-9).all()
    for atom in (Atom(0, ">=", other=1), Atom(1, "<=", constant=0.3)):
        slack = Property(prop.input_lower, prop.input_upper, (((atom,),),), prop.output_count).margin(outputs)
        assert slack.max() <= float(bounds.greatest_slack(atom)) + 1e-9
    if refuted(query.network, prop, {}):
        assert enumerate_query(query.network, prop).truth is Truth.UNSAT


def test_assumed_signs_that_the_box_excludes_refute() -> None:
    network = relu_network([2, 3, 2], np.random.default_rng(0))
    prop = Property(-np.ones(2), np.ones(2), (), 2)
    tensor = network.nodes[0].name
    z = RationalBounds.of(network, prop, {}).values[tensor]
    assert not refuted(network, prop, {(tensor, 0): True})
    far = Property(np.full(2, 9.0), np.full(2, 9.0), (), 2)
    (point, _), _ = RationalBounds.of(network, far, {}).values[tensor], z
    assert refuted(network, far, {(tensor, 0): point[0] <= 0})


def test_the_families_are_there() -> None:
    assert {"planted_sat", "planted_unsat"} <= set(generators())


def test_an_attack_that_succeeds_says_so(digits) -> None:
    source, points = digits
    asked = source.pose(points[0], LabelChanges())
    assert found_by_attack(asked.draft(0.5, asked.extreme(0.5, 0)), 2, 0)
