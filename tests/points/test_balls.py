"""One point within a Euclidean distance: radii known from geometry, between those of boxes, and bad input."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import salver
from salver.core.errors import SalverError
from salver.nets.network import Network
from salver.nets.operators import Linear, Node
from salver.spec import ball_around
from tests.builders.small_network import classifier

X = np.array([0.3, -0.2, 0.5], np.float32)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifier(tmp_path_factory.mktemp("net") / "net.onnx", inputs=3, seed=4)


def test_the_radius_of_a_linear_classifier_is_the_distance_from_its_plane() -> None:
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(2, 5)).astype(np.float32), np.zeros(2, np.float32)
    x = rng.uniform(-1.0, 1.0, 5).astype(np.float32)
    row = (weight[0] - weight[1]).astype(np.float64)
    expected = abs(row @ x) / np.linalg.norm(row)
    linear = Network("X", 5, (Node("Y", Linear(weight, bias), ("X",), (2,)),), "Y")
    found = salver.radius(linear, x, "label-changes", norm="l2", most=4.0)
    assert found.certified <= expected <= found.attacked * (1 + 1e-6) <= expected * 1.06
    assert np.linalg.norm(found.witness - x.astype(np.float64)) == found.attacked == found.nearest.distance
    assert found.values["norm"] == "l2"
    assert found.sentence.startswith(
        f"Robust up to {found.certified:g} in the Euclidean norm, proved by hybrid; broken at "
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("question", "entries"), [("top-k", {"k": 1}), ("label-changes", {}), ("same-map", {"delta": 0.3})]
)
def test_radii_lie_between_those_of_boxes(network: Path, question: str, entries: dict[str, object]) -> None:
    ball = salver.radius(network, X, question, norm="l2", precision=0.02, **entries)
    box = salver.radius(network, X, question, precision=0.02, **entries)
    assert box.certified < ball.attacked
    assert ball.certified < math.sqrt(len(X)) * box.attacked
    assert 0 < ball.certified < ball.attacked < ball.certified / 0.97


def test_a_counterexample_lies_in_the_ball_exactly(network: Path) -> None:
    found = salver.check(network, X, "top-k", k=1, epsilon=0.5, norm="l2")
    assert found.robust is False
    assert ball_around(X, 0.5).holds(found.counterexample.x)
    assert found.distance == np.linalg.norm(found.witness.astype(np.float64) - X) <= 0.5
    assert found.sentence.startswith(
        "Not robust: within 0.5 in the Euclidean norm there is an input at which the largest entry of the map"
    )


def test_a_ball_is_less_than_the_box_around_it(network: Path) -> None:
    ball, box = (salver.check(network, X, "top-k", k=1, epsilon=0.3, norm=norm) for norm in ("l2", "linf"))
    assert (ball.verdict, box.verdict) == ("robust", "not robust")


@pytest.mark.slow
def test_the_range_of_the_inputs_holds_in_a_ball(network: Path) -> None:
    found = salver.check(network, X, "top-k", k=1, epsilon=0.5, norm="l2", input_range=(-0.3, 0.5))
    if found.witness is not None:
        assert np.float32(-0.3) <= found.witness.min() <= found.witness.max() <= 0.5
    inside = salver.radius(network, X, "top-k", k=1, norm="l2", input_range=(-0.3, 0.5), timeout=5.0)
    assert inside.most == pytest.approx(0.8 * math.sqrt(3))


@pytest.mark.parametrize(("norm", "hint"), [("L2", "did you mean l2"), ("euclid", "choose linf or l2")])
def test_an_unknown_norm_is_one_line(network: Path, norm: str, hint: str) -> None:
    with pytest.raises(SalverError) as caught:
        salver.check(network, X, "top-k", k=1, epsilon=0.3, norm=norm)
    assert hint in str(caught.value)
