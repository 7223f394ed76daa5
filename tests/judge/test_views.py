"""Views of witnesses: the maps against automatic differentiation, and which witnesses are shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.explain.gradient import logits_and_gradient
from salver.families.generate import drafts
from salver.families.instance import DataCard, Instance, Manifest, Vacuity
from salver.families.instance_set import write_set
from salver.families.questions import TopKChanges
from salver.families.suite import Suite
from salver.judge.judgement import Outcome, WitnessVerdict
from salver.judge.loaded import EntryNames, LoadedSet, StoredRun
from salver.judge.maps import map_of_outputs
from salver.judge.views import (
    WitnessView,
    centre_of_box,
    chosen_witnesses,
)
from salver.judge.views import view as view_of
from salver.nets.onnx.reader import read_onnx
from salver.report.page.pictures import pictures
from salver.spec import float32_down, float32_up, read_vnnlib
from salver.zoo.datasets import load
from tests.builders import records
from tests.builders.views import facts_of, judged_of

SUITE = Suite.model_validate(
    {
        "key": "views",
        "title": "views",
        "timeout": 5,
        "family": [
            {
                "generator": "vg_box",
                "params": {
                    "network": "bandit-6x6", "points": 2, "epsilons": [0.5], "delta_factors": [1.05],
                    "label": label, "gradient": gradient, "enumerate": True,
                },
            }
            for label in ("reference", "predicted")
            for gradient in ("logit", "difference")
        ]
        + [
            {
                "generator": "cam_topk",
                "params": {"network": "digits-gap", "points": 1, "k": 5, "epsilon_factors": [1.1]},
            },
            {
                "generator": "label_robustness",
                "params": {"network": "bandit-6x6", "points": 1, "epsilon_factors": [1.1], "enumerate": True},
            },
        ],
    }
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, Manifest]:
    folder = tmp_path_factory.mktemp("views") / "set"
    return folder, write_set(folder, SUITE, drafts(SUITE), lambda _: None)


def witness_of(folder: Path, instance: Instance) -> str | None:
    """A witness by sampling the box: these instances have thick sets of them."""
    from salver.solvers.attack.falsify import attack
    from salver.solvers.query import Budget, Query

    prop = read_vnnlib(folder / f"{instance.vnnlib}.gz")
    network = read_onnx(folder / instance.onnx)
    point = attack(Query(folder / instance.onnx, network, prop), Budget(float("inf")), 0, 20)
    if point is None:
        return None
    return " ".join(f"(X_{i} {value!r})" for i, value in enumerate(np.asarray(point, float).tolist())).join(
        "()"
    )


def viewed(folder: Path, instance: Instance, text: str) -> WitnessView | None:
    return view_of(LoadedSet(folder, {instance.id: instance})[instance.id], "falsify", text)


@pytest.mark.slow
def test_maps_are_the_gradients_of_the_original_network(made):
    folder, manifest = made
    seen = set()
    for instance in manifest.instances:
        facts = instance.facts
        text = witness_of(folder, instance) if facts.family == "vg_box" else None
        view = viewed(folder, instance, text) if text else None
        if view is None:
            continue
        network = read_onnx(folder / instance.network)
        at_witness = facts.explanation.reference(network, view.witness[None])[0]
        at_x = (facts.compared_with or facts.explanation).reference(network, view.x[None])[0]
        assert np.allclose(view.witness_map, at_witness, atol=1e-3)
        assert np.allclose(view.x_map, at_x, atol=1e-3)
        assert view.map_distance <= facts.question.tolerance * (1 + 1e-5)
        assert view.x_class != view.witness_class
        assert np.array_equal(view.x, load("bandit").test_x[facts.index].astype(np.float64))
        seen.add(facts.compared_with is not None)
    assert seen == {True, False}


@pytest.mark.slow
def test_the_page_shows_what_the_gallery_shows(made, tmp_path):
    folder, manifest = made
    (tmp_path / "cex").mkdir()
    judged, views = [], {}
    for instance in manifest.instances:
        text = witness_of(folder, instance)
        view = None if text is None else viewed(folder, instance, text)
        if view is not None:
            (tmp_path / "cex" / instance.id).write_text(text)
            judged.append(judged_of(instance.id, "falsify"))
            views[instance.id] = view
    instances = LoadedSet(folder, {i.id: i for i in manifest.instances})
    shown = pictures(StoredRun(tmp_path, instances, [one.run for one in judged]), judged)
    assert len(shown) == len(views) > 2
    for key, picture in shown.items():
        view = views[key]
        assert picture.exact
        assert np.allclose(picture.xhat.x, view.x, atol=1e-4)
        assert np.allclose(picture.xhat.map, view.x_map, atol=1e-3 * max(1, np.abs(view.x_map).max()))
        assert np.allclose(picture.witness.map, view.witness_map, rtol=1e-3, atol=1e-3)
        assert (picture.moved, picture.map_moved) == pytest.approx(
            (view.input_distance, view.map_distance), rel=1e-3
        )
        names = picture.names.classes or [str(n) for n in range(10)]
        assert [names[picture.xhat.label], names[picture.witness.label]] == [view.x_class, view.witness_class]
    # A map at xhat that is not the one the graph has there is among them.
    assert any(view.instance.facts.compared_with for view in views.values())


def test_at_a_tie_the_class_shown_is_the_other_one():
    facts = facts_of(0, "n", question=TopKChanges(k=1))
    found = map_of_outputs(facts, np.array([2.0, 2.0, 0.5, 3.0]))
    assert (found.label, found.top, found.map.tolist()) == (1, (1,), [0.5, 3.0])
    assert map_of_outputs(facts, np.array([2.0, 1.0, 0.5, 3.0])).label == 0


@pytest.mark.slow
def test_an_activation_map_has_the_shape_of_its_feature_map(made):
    folder, manifest = made
    (cam,) = (i for i in manifest.instances if i.facts.family == "cam_topk")
    text = witness_of(folder, cam)
    assert text is not None
    view = viewed(folder, cam, text)
    assert view is not None
    assert (view.map_shape, view.input_shape) == ((8, 8), (1, 8, 8))
    assert view.x_class == view.witness_class
    top = [set(np.argsort(-m)[:5].tolist()) for m in (view.x_map, view.witness_map)]
    assert top[0] != top[1]


@pytest.mark.slow
def test_no_view_without_a_map_or_with_a_witness_that_does_not_replay(made):
    folder, manifest = made
    label = next(i for i in manifest.instances if i.facts.family == "label_robustness")
    assert not label.facts.map_size
    assert viewed(folder, label, "((X_0 0.0))") is None
    box = next(i for i in manifest.instances if i.facts.family == "vg_box")
    assert viewed(folder, box, "sat\nnonsense") is None


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=6), st.floats(0.001953125, 0.46875, width=32))
def test_xhat_is_read_off_a_box_that_is_cut_off_on_one_side_at_most(values, epsilon):
    x = np.array(values, np.float64)
    low = np.maximum(float32_down(x - epsilon), 0.0)
    high = np.minimum(float32_up(x + epsilon), 1.0)
    facts = facts_of(0, "n", epsilon=epsilon).model_copy(update={"input_shape": (len(x),)})
    assert np.allclose(centre_of_box(low, high, facts), x, atol=1e-6)


@pytest.mark.slow
def test_without_the_data_xhat_comes_from_the_box(made):
    folder, manifest = made
    box = next(i for i in manifest.instances if i.facts.family == "vg_box" and witness_of(folder, i))
    elsewhere = box.model_copy(update={"facts": box.facts.model_copy(update={"dataset": "elsewhere"})})
    text = witness_of(folder, box)
    assert text is not None
    view = viewed(folder, elsewhere, text)
    assert view is not None
    assert (view.x_from, view.features) == ("box", ())
    network = read_onnx(folder / box.network)
    assert view.x_class == str(int(logits_argmax(network, view.x)))


def logits_argmax(network, x):
    from salver.nets.network import lower

    coefficients = np.zeros(network.output_size)
    return np.argmax(logits_and_gradient(lower(network), x[None], coefficients)[0][0])


def test_a_few_of_each_network_at_different_points():
    places = {"a": (0, "n"), "b": (0, "n"), "c": (1, "n"), "d": (2, "m"), "e": (3, "n"), "f": (4, "n")}
    instances = {
        name: Instance(
            id=name, suite="s", name=name, onnx="o", vnnlib="v", vnnlib2="w", network="n", timeout=1,
            operators=(), facts=facts_of(*place),
        )
        for name, place in places.items()
    }  # fmt: skip
    judged = [judged_of(name, solver) for solver in ("two", "one") for name in "abcd"]
    judged.append(judged_of("e", "one", worth=WitnessVerdict.UP_TO_TOLERANCE))
    judged.append(judged_of("f", "one", outcome=Outcome.WRONG))
    chosen = chosen_witnesses(judged, instances, per_group=2)
    assert [(j.run.instance, j.run.solver) for j in chosen] == [("a", "one"), ("c", "one"), ("d", "one")]
    assert [j.run.instance for j in chosen_witnesses(judged, instances, 9)] == ["a", "b", "c", "d"]


def test_the_tightest_tolerance_of_a_point_is_shown_first():
    shares = {"a": 0.9, "b": 0.2, "c": None}
    instances = {
        name: Instance(
            id=name, suite="s", name=name, onnx="o", vnnlib="v", vnnlib2="w", network="n", timeout=1,
            operators=(), facts=facts_of(0, "n", vacuity=Vacuity(delta_over_saliency=share)),
        )
        for name, share in shares.items()
    }  # fmt: skip
    judged = [judged_of(name, "one") for name in "abc"]
    assert [j.run.instance for j in chosen_witnesses(judged, instances, 1)] == ["b"]
    assert [j.run.instance for j in chosen_witnesses(judged, instances, 2)] == ["a", "b"]


def test_names_come_from_the_set_where_data_is_of_ones_own(tmp_path):
    one = records.instance()
    own = one.model_copy(update={"facts": one.facts.model_copy(update={"dataset": "wine.npz"})})
    card = DataCard(name="wine.npz", sha256="", classes=("red", "white"), features=("acid", "sugar"))
    for cards, names in (
        ({"wine.npz": card}, EntryNames(("acid", "sugar"), ("red", "white"))),
        ({"wine.npz": card.model_copy(update={"classes": ("one",)})}, EntryNames(("acid", "sugar"), ())),
        ({}, EntryNames()),
    ):
        assert LoadedSet(tmp_path, {own.id: own}, None, cards)[own.id].names == names
