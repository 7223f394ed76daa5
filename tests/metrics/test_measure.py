"""Certified metrics, held against enumeration, against a dense grid, and against bad input."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch

import salver
from salver.core.errors import SalverError
from salver.families.other_class import SameMap
from salver.families.question import Question
from salver.families.questions import TopKChanges
from salver.metrics.changes import LocalLipschitz, MaxSensitivity, RelativeInputStability
from salver.metrics.kept import Consistency, TopKIntersection
from salver.metrics.measurement import Measurement, printed
from salver.metrics.metric import METRICS, Evaluated, ExplainedInput, Metric
from salver.metrics.search import EntryMovesByShare
from salver.oracle.enumerate import enumerate_query
from salver.spec.truth import Truth
from tests.builders.small_network import classifier

X = np.array([[0.3, -0.2, 0.5], [0.0, 0.4, -0.6]], np.float32)
ENTRIES = {"k": 1, "nearest": 0.3, "tolerance": 0.3}


@pytest.fixture(scope="module", params=[3, 8])
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifier(tmp_path_factory.mktemp("net") / "net.onnx", inputs=3, seed=request.param)


@pytest.fixture(scope="module", params=[0.02, 1.5])
def found(request: pytest.FixtureRequest, network: Path) -> salver.Measured:
    return salver.measure(network, X, epsilon=request.param, timeout=5, draws=50, **ENTRIES)


@pytest.mark.slow
def test_sampled_attacked_and_certified_are_in_order(found: salver.Measured) -> None:
    for row in found.rows:
        sign = 1 if row.metric.largest_is_worst else -1
        assert sign * row.sampled <= sign * row.attacked + 1e-6
        assert sign * row.sampled <= sign * row.certified
        assert sign * row.attacked <= sign * row.certified
        assert row.bounded or row.metric.kind == "consistency" or row.attacked == 0
        if row.witness is not None:
            shown = row.metric.values(row.here, row.witness)[0]
            assert not row.metric.is_worse(row.attacked, shown)


@pytest.mark.slow
def test_no_input_of_a_dense_grid_is_worse_than_certified(found: salver.Measured) -> None:
    steps = np.linspace(-1, 1, 15)
    grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    for row in found.rows:
        x = row.here.x + row.here.epsilon * grid
        values = row.metric.values(row.here, Evaluated(x, *row.asked.posed.map.values(x)))
        assert not row.metric.is_worse(row.metric.worst(values), row.certified)


@pytest.mark.slow
def test_both_ends_are_those_of_enumeration(found: salver.Measured) -> None:
    for row in found.rows:
        metric, here = row.metric, row.here
        match metric:
            case MaxSensitivity():
                weights = (float(np.abs(here.map).max()),) * len(here.map)
                assert _truth(row, EntryMovesByShare(level=row.certified, weights=weights)) is Truth.UNSAT
                below = EntryMovesByShare(level=row.attacked * (1 - 1e-6), weights=weights)
                assert row.attacked == 0 or _truth(row, below) is Truth.SAT
            case TopKIntersection():
                stays, kept = round(row.certified * metric.k), round(row.attacked * metric.k)
                asked = TopKChanges(k=metric.k, stay=stays or None, same_label=False)
                assert stays == 0 or _truth(row, asked) is Truth.UNSAT
                fewer = TopKChanges(k=metric.k, stay=min(kept + 1, metric.k), same_label=False)
                assert kept == metric.k or _truth(row, fewer) is Truth.SAT
            case Consistency():
                same = _truth(row, SameMap(delta=metric.delta(here)))
                assert (same is Truth.UNSAT) == (row.certified == 1.0)
                assert (same is Truth.SAT) == (row.attacked == 0.0)


def _truth(row: Measurement, question: Question) -> Truth:
    posed = row.asked.posed
    posed = posed.factory.pose(posed.point, question, posed.map.explanation)
    box = posed.factory.box(posed.point.x, row.here.epsilon)
    return enumerate_query(posed.graph, posed.prop(box)).truth


@pytest.mark.slow
@pytest.mark.parametrize("method", ["gradient-x-input", "cam", "occlusion"])
def test_maps_of_every_form_are_enclosed(method: str) -> None:
    torch.manual_seed(0)
    features = (torch.nn.Conv2d(1, 2, 2), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    module = torch.nn.Sequential(*features, torch.nn.Linear(2, 3)).eval()
    rng = np.random.default_rng(0)
    x = rng.random((1, 1, 3, 3)).astype(np.float32)
    said = {"window": 2} if method == "occlusion" else {}
    given = {"epsilon": 0.05, "draws": 20, "timeout": 5, "method": method, **said}
    (row,) = salver.measure(module, x, "max", **given).rows
    near = row.here.x + rng.choice([-0.05, 0.0, 0.05], size=(3000, 9))
    seen = Evaluated(near, *row.asked.posed.map.values(near))
    assert 0 < row.metric.worst(row.metric.values(row.here, seen)) < row.certified
    assert row.sampled < row.attacked < row.certified < 2 * row.attacked


@pytest.mark.slow
def test_the_changes_here_are_of_every_kind(network: Path) -> None:
    """The tests above compare something: the boxes are such that maps change in some and not in others."""
    rows = [salver.measure(network, X, "max", epsilon=e, timeout=5, draws=9).rows for e in (0.02, 1.5)]
    assert min(row.attacked for row in rows[0]) == 0
    assert max(row.attacked for row in rows[1]) > 0.5


@pytest.mark.slow
def test_a_witness_has_the_attacked_value_by_definition(found: salver.Measured) -> None:
    for row in found.rows:
        if row.witness is None:
            assert row.attacked == row.metric.best
            continue
        posed, x = row.asked.posed, row.witness.x
        low, high = posed.factory.box(posed.point.x, row.here.epsilon)
        assert ((low <= x) & (x <= high)).all()
        assert np.array_equal(x, x.astype(np.float32))
        explanation, network = posed.map.explanation, row.asked.subject.network
        assert explanation is not None
        seen = Evaluated(x, posed.factory.program.evaluate(x)[0], explanation.reference(network, x))
        value = float(row.metric.values(row.here, seen)[0])
        assert value == pytest.approx(row.attacked, rel=1e-4, abs=1e-6)


@pytest.mark.slow
def test_a_claim_certifies_nothing(tmp_path: Path) -> None:
    network = classifier(tmp_path / "net.onnx", inputs=3, seed=4)
    given = {"epsilon": 0.01, "solver": "milp", "draws": 5}
    found = salver.measure(network, X[:1], timeout=0.3, **given, **ENTRIES)
    assert {row.bounded for row in found.rows} == {False}
    assert {row.certified for row in found.rows} == {math.inf, 0.0}
    assert "not certified, by milp" in found.sentence
    one = salver.measure(network, X[:1], "consistency", timeout=60, **given).rows[0]
    assert (one.certified, one.attacked) == (0.0, 1.0)
    assert "claims that there is none" in one.reason


def test_one_metric_can_be_asked_for_with_several_entries(tmp_path: Path) -> None:
    network = classifier(tmp_path / "net.onnx", inputs=3, seed=4)
    metrics = [TopKIntersection(k=1), TopKIntersection(k=2)]
    found = salver.measure(network, X, metrics, epsilon=1.5, draws=5, timeout=0.5)
    assert found.frame["entries"].tolist() == ["k=1", "k=2"] * 2
    assert "Top-K Intersection (k=1)" in str(found)


@pytest.mark.slow
def test_an_attacked_value_beyond_a_certificate_is_a_fault(found: salver.Measured) -> None:
    row = found.rows[0]
    with pytest.raises(SalverError, match=r"contradicts a certificate of .*please report it"):
        replace(row, attacked=row.certified * 1.1 + 1)


def test_what_is_near_is_left_out_or_counts_as_farther() -> None:
    here = ExplainedInput(np.zeros(2) + 0.5, np.array([1.0, 2.0]), 0, 0.1)
    x = here.x + np.array([[0.01, 0.0], [0.05, 0.0], [0.0, -0.1]])
    seen = Evaluated(x, np.zeros((3, 2)), here.map + np.array([[9.0, 9.0], [0.5, 0.0], [0.0, 1.0]]))
    lipschitz = LocalLipschitz(nearest=0.5).values(here, seen)
    assert np.isnan(lipschitz[0])
    assert lipschitz[1:] == pytest.approx([10.0, 10.0])
    relative = RelativeInputStability(floor=0.15).values(here, seen)
    assert relative == pytest.approx([9.0 / 0.15, 0.5 / 0.15, 0.5 / 0.2])


@pytest.mark.slow
def test_balls_are_asked_about_as_boxes_are(tmp_path: Path) -> None:
    network = classifier(tmp_path / "net.onnx", inputs=3, seed=8)
    rng, epsilon = np.random.default_rng(1), 0.4
    found = salver.measure(network, X, epsilon=epsilon, norm="l2", timeout=3, draws=50, **ENTRIES)
    boxed = salver.measure(network, X, "max", epsilon=epsilon, timeout=3, draws=50)
    assert "within 0.4 in the Euclidean norm" in str(found)
    steps = rng.normal(size=(4000, 3))
    steps *= epsilon * rng.random((4000, 1)) ** 0.3 / np.linalg.norm(steps, axis=1, keepdims=True)
    for row in found.rows:
        x = row.here.x + steps
        values = row.metric.values(row.here, Evaluated(x, *row.asked.posed.map.values(x)))
        assert not row.metric.is_worse(row.metric.worst(values), row.certified)
        assert not row.metric.is_worse(row.sampled, row.certified)
        ball = row.asked.posed.factory.ball(row.asked.posed.point.x, epsilon)
        assert ball is not None
        assert row.witness is None or ball.holds(row.witness.x[0])
    balls = [row for row in found.rows if isinstance(row.metric, MaxSensitivity)]
    assert all(ball.certified <= box.certified * 1.02 for ball, box in zip(balls, boxed.rows, strict=True))
    assert any(ball.certified < box.attacked for ball, box in zip(balls, boxed.rows, strict=True))


@pytest.mark.slow
def test_quotients_are_as_near_as_the_change_of_the_map(tmp_path: Path) -> None:
    """The bound is no larger than a twentieth above what some input has, although shells are questions."""
    network = classifier(tmp_path / "net.onnx", inputs=3, seed=8)
    metrics = ["local-lipschitz", "relative-input-stability"]
    for row in salver.measure(network, X, metrics, epsilon=1.5, timeout=20, nearest=0.1).rows:
        assert 0 < row.attacked <= row.certified <= 1.06 * row.attacked


def test_a_range_without_an_input_that_is_far_enough_leaves_nothing_to_find(tmp_path: Path) -> None:
    path, x = classifier(tmp_path / "net.onnx"), np.full((1, 2), 0.5, np.float32)
    given = {"epsilon": 2.0, "nearest": 0.9, "input_range": (0, 1), "draws": 5, "timeout": 0.3}
    (row,) = salver.measure(path, x, "local", **given).rows
    assert row.attacked == 0
    assert row.certified >= 0


def test_a_map_of_zeros_has_no_relative_change(tmp_path: Path) -> None:
    network = classifier(tmp_path / "net.onnx", inputs=3, seed=3)
    x = np.random.default_rng(0).uniform(-2, 2, (200, 3)).astype(np.float32)
    off = ~salver.Attribution(network).attribute(x).any(axis=1)
    found = salver.measure(network, [x[off][0], x[~off][0]], ["max", "top"], epsilon=0.01, draws=5, k=1)
    zero, _, other, _ = found.rows
    assert (zero.is_defined, other.is_defined) == (False, True)
    assert math.isnan(zero.certified)
    assert zero.sentence == "Max-Sensitivity at the point is not defined: all entries of the map are 0."
    assert "1 of 2" in str(found)
    assert "tied" in found.rows[1].reason


def test_all_metrics_are_of_the_field() -> None:
    assert list(METRICS.known) == [
        "max-sensitivity", "local-lipschitz", "relative-input-stability", "consistency", "top-k-intersection",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"metrics": "max-sensitivty"}, "did you mean max-sensitivity?"),
        ({"metrics": []}, "metrics: names nothing"),
        ({"metrics": "top-k", "k": 3}, "k: 3 is not between 1 and 2"),
        ({"metrics": "top-k", "k": "many"}, "k: 'many' is not a whole number"),
        ({"metrics": "max", "k": 3}, "k: no metric that is asked for has such an entry"),
        ({"nearest": 1.5}, "nearest: 1.5 is too large"),
        ({"epsilon": 0}, "epsilon: 0 is too small"),
        ({"draws": 0}, "draws: 0 is too small"),
        ({"method": "cam"}, "global average pooling"),
        ({"method": "smothgrad"}, "did you mean smoothgrad?"),
        ({"labels": [0]}, "1 class for 2 points"),
        ({"solver": "hibrid"}, "hybrid"),
        ({"labels": [7, 0]}, "class 7 does not exist"),
        ({"metrics": ["max", "max-s"]}, "max-sensitivity is named twice"),
        ({"points": "x.npy"}, "'x.npy' is no array of inputs"),
        ({"norm": "l3"}, "norm: 'l3' is not a choice; choose linf or l2"),
        ({"floor": 0}, "floor: 0 is too small"),
        ({"points": X[:0]}, "holds no points"),
        ({"points": None}, "no points are given"),
        ({"points": X[:, :2]}, "has 2 entries, net takes 3"),
    ],
)
def test_bad_input_is_one_clear_line(tmp_path: Path, entries: dict[str, object], message: str) -> None:
    network = classifier(tmp_path / "net.onnx", inputs=3, seed=4)
    given = {"epsilon": 0.1, "points": X, "timeout": 0.1, **entries}
    with pytest.raises(SalverError) as error:
        salver.measure(network, **given)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("metric", "attacked", "certified", "closed"),
    [
        (MaxSensitivity(), 1.0, 1.02, True),
        (MaxSensitivity(), 1.0, 1.04, False),
        (RelativeInputStability(), 100.0, 105.0, True),
        (RelativeInputStability(), 100.0, 106.0, False),
        (MaxSensitivity(), 1.0, math.inf, False),
        (TopKIntersection(), 0.8, 0.8, True),
        (TopKIntersection(), 0.8, 0.6, False),
        (TopKIntersection(), 0.0, 0.0, False),
    ],
)
def test_closed_is_as_near_as_a_search_goes(
    metric: Metric, attacked: float, certified: float, closed: bool
) -> None:
    asked, here = MagicMock(), MagicMock()
    found = Measurement(metric, 0, asked, here, attacked, attacked, certified, attacked)
    assert found.closed == closed


@pytest.mark.parametrize(
    ("value", "metric", "attacked", "shown"),
    [
        (0.94, Consistency(), False, "0.94"),
        (0.123456, MaxSensitivity(), False, "0.1235"),
        (0.123456, MaxSensitivity(), True, "0.1234"),
        (0.123456, TopKIntersection(), False, "0.1234"),
        (0.123456, TopKIntersection(), True, "0.1235"),
        (math.inf, MaxSensitivity(), False, "none"),
        (math.nan, MaxSensitivity(), False, "-"),
    ],
)
def test_a_printed_bound_is_one(value: float, metric: Metric, attacked: bool, shown: str) -> None:
    assert printed(value, metric, attacked=attacked) == shown


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_an_input_beyond_the_radius_makes_no_attacked_value(norm: str) -> None:
    """The gradient is 1 at 1000 and 6 at the next number of binary32, which the box of a query holds."""
    layers = [torch.nn.Linear(1, 1), torch.nn.Linear(1, 2), torch.nn.ReLU(), torch.nn.Linear(2, 2)]
    numbers = ([[1]], [-1000]), ([[1], [1]], [1, -3e-5]), ([[1, 5], [0, 0]], [0, 0])
    for layer, (weight, bias) in zip((layers[0], layers[1], layers[3]), numbers, strict=True):
        layer.weight.data, layer.bias.data = (
            torch.tensor(part, dtype=torch.float32) for part in (weight, bias)
        )
    model, x = torch.nn.Sequential(*layers), np.array([[1000.0]], np.float32)
    (near,), (far,) = (
        salver.measure(model, x, "max-sensitivity", epsilon=epsilon, norm=norm, timeout=5, draws=20).rows
        for epsilon in (1e-5, 7e-5)
    )
    assert (near.attacked, far.attacked) == (0.0, 5.0)
    assert near.certified >= 0.0
    assert far.certified >= 5.0
