"""Maps of masked inputs: Captum's values, graphs of linear operators and ReLUs alone, and what is refused."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from experiments.soundness.proofs import accepted
from experiments.soundness.stated import read_again
from salver.core.errors import SalverError
from salver.core.records import parse_record
from salver.explain.checked import classifier_of, unrolled
from salver.explain.explanation import METHODS, Explained, Explanation, Form
from salver.explain.feature_ablation import FeatureAblation
from salver.explain.kernel_shap import KernelShap
from salver.explain.lime import Lime
from salver.explain.masked_copies import Draws, MaskedCopies
from salver.explain.occlusion import Occlusion
from salver.explain.ranking import UndefinedConditionError
from salver.explain.rise import RandomMasks, Rise
from salver.explain.shapley import ShapleyValues
from salver.families.factory import InstanceFactory, Point
from salver.families.questions import EntryMoves, TopKChanges
from salver.families.search import Found
from salver.nets.network import Network, evaluate, lower
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.operators import Concat, Linear, Relu
from salver.nets.runtime import Runtime, with_free_batch
from salver.nets.torch_bridge import from_torch
from salver.solvers.hybrid import solver as hybrid
from salver.solvers.proving.search import prove
from salver.solvers.query import Budget, Options, Query
from salver.spec.truth import Truth
from tests.builders import captum
from tests.builders.image_networks import Block, with_drawn_statistics
from tests.builders.small_queries import relu_network
from tests.conftest import ROOT

Array = np.ndarray
PATCHES = torch.arange(4).reshape(2, 2).repeat_interleave(3, 0).repeat_interleave(3, 1)[None, None]
SHAPE = (1, 2, 6, 6)


@cache
def module(kind: str) -> nn.Module:
    pooled = nn.Sequential(
        nn.Conv2d(2, 3, 3, 1, 1), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 4, 3, 1, 1),
        nn.ReLU(), nn.AvgPool2d(3), nn.Flatten(), nn.Linear(4, 3),
    )  # fmt: skip
    dense = nn.Sequential(
        nn.Flatten(), nn.Linear(72, 9), nn.ReLU(), nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 3)
    )
    residual = nn.Sequential(
        nn.Conv2d(2, 4, 3, 2, 1), Block(4, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    return with_drawn_statistics({"dense": dense, "pooled": pooled, "residual": residual}[kind])


@cache
def network(kind: str) -> Network:
    return classifier_of(module(kind), torch.zeros(SHAPE)).network


def rows(count: int = 2) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(3).uniform(0, 1, (count, *SHAPE[1:])).astype(np.float32))


def captum_occlusion(model: nn.Module, x: torch.Tensor, one: Occlusion) -> torch.Tensor:
    return captum.Occlusion(model).attribute(
        x, sliding_window_shapes=(2, 3, 2), strides=(1, 2, 1), baselines=0.25, target=1
    )


def captum_ablation(model: nn.Module, x: torch.Tensor, one: FeatureAblation) -> torch.Tensor:
    return captum.FeatureAblation(model).attribute(x, baselines=0.25, feature_mask=PATCHES, target=1)


def captum_shapley(model: nn.Module, x: torch.Tensor, one: ShapleyValues) -> torch.Tensor:
    return captum.ShapleyValues(model).attribute(x, baselines=0.25, feature_mask=PATCHES, target=1)


def drawing(kept: Array) -> Callable[..., Iterator[torch.Tensor]]:
    def draws(_: Any, **__: Any) -> Iterator[torch.Tensor]:
        for subset in kept:
            yield torch.from_numpy(subset[None].astype(np.int64))

    return draws


def row_by_row(explainer: Any, x: torch.Tensor, count: int) -> torch.Tensor:
    given = {"baselines": 0.25, "feature_mask": PATCHES, "target": 1, "n_samples": count}
    return torch.cat([explainer.attribute(row[None], **given) for row in x])


def captum_kernel_shap(model: nn.Module, x: torch.Tensor, one: KernelShap) -> torch.Tensor:
    kept = np.vstack([np.ones(4), np.zeros(4), one.drawn(4)])
    explainer = captum.KernelShap(model)
    explainer.perturb_func = drawing(kept)
    return row_by_row(explainer, x, len(kept))


def captum_lime(model: nn.Module, x: torch.Tensor, one: Lime) -> torch.Tensor:
    from captum._utils.models.linear_model import SkLearnRidge

    kept, weights = one.drawn(4)
    known = {tuple(subset): weight for subset, weight in zip(kept.tolist(), weights.tolist(), strict=True)}

    def similarity(_: Any, __: Any, subset: torch.Tensor, **___: Any) -> float:
        return known[tuple(subset[0].tolist())]

    ridge = SkLearnRidge(alpha=one.ridge)
    explainer = captum.Lime(model, ridge, similarity_func=similarity, perturb_func=drawing(kept))
    return row_by_row(explainer, x, len(kept))


AGAINST_CAPTUM: list[tuple[MaskedCopies, Any]] = [
    (Occlusion(window=(3, 2), stride=(2, 1), baseline=(0.25,), logit=1), captum_occlusion),
    (FeatureAblation(patch=(3,), baseline=(0.25,), logit=1), captum_ablation),
    (ShapleyValues(patch=(3,), baseline=(0.25,), logit=1), captum_shapley),
    (KernelShap(patch=(3,), draws=Draws(count=12), baseline=(0.25,), logit=1), captum_kernel_shap),
    (Lime(patch=(3,), draws=Draws(count=15), ridge=0.5, baseline=(0.25,), logit=1), captum_lime),
]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dense", "pooled", "residual"])
@pytest.mark.parametrize(
    ("explanation", "captums"), AGAINST_CAPTUM, ids=lambda one: getattr(one, "method", "")
)
def test_the_graph_gives_captums_values(explanation: MaskedCopies, captums: Any, kind: str) -> None:
    """In the graph, and in ONNX Runtime in a batch; at random inputs and at whole ones, where ReLUs tie."""
    whole = torch.from_numpy(np.random.default_rng(4).integers(0, 2, (2, *SHAPE[1:])).astype(np.float32))
    x, model = torch.cat([rows(), whole]), module(kind)
    explanation = explanation.model_copy(update={"shape": SHAPE[1:]})
    with torch.no_grad():
        expected = captums(model.double(), x.double(), explanation).flatten(1).numpy()
        logits = model(x.double()).numpy()
    model.float()
    graph = explanation.graph(network(kind))
    runtime = Runtime(to_bytes(with_free_batch(to_model(graph))))
    for given in (evaluate(graph, x.flatten(1).double().numpy()), runtime.rows(x.flatten(1).numpy())):
        assert np.abs(given[:, :3] - logits).max() <= 1e-5 * np.abs(logits).max()
        assert np.abs(given[:, 3:] - expected).max() <= 1e-5 * np.abs(expected).max()


def small(seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return from_torch(
        nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)), 6
    )


ALL = [
    Occlusion(window=(2,), stride=(1,)),
    FeatureAblation(baseline=(0.5,), grouped=True),
    Rise(masks=RandomMasks(count=5)),
    ShapleyValues(groups=(1, 1, 5, 5, 9, 9), grouped=True),
    KernelShap(draws=Draws(count=20)),
    Lime(draws=Draws(count=10)),
]


@pytest.mark.parametrize("explanation", ALL, ids=lambda one: one.method)
def test_graphs_and_files_of_dense_networks_hold_dense_layers_and_relus_alone(
    explanation: Explanation,
) -> None:
    assert explanation.form == Form.FORWARD
    _, graph, content = unrolled(small(), explanation)
    assert {type(node.operator) for node in graph.nodes} == {Linear, Relu, Concat}
    kinds = {node.op_type for node in onnx.load_from_string(content).graph.node}
    assert kinds <= {"Gemm", "MatMul", "Relu", "Concat"}
    x = np.random.default_rng(0).uniform(-1, 1, (5, 6)).astype(np.float32)
    run = Runtime(with_free_batch(onnx.load_from_string(content)).SerializeToString())
    assert np.allclose(run.rows(x), evaluate(graph, x.astype(np.float64)), atol=1e-5)


@pytest.mark.parametrize("explanation", ALL, ids=lambda one: one.method)
def test_quick_values_are_those_of_the_graph(explanation: Explanation) -> None:
    classifier, x = small(1), np.random.default_rng(0).normal(size=(40, 6))
    explained = Explained(classifier, lower(classifier), explanation.of(2, 0))
    assert not explained.explanation.values_use_graph
    found = np.hstack(explained.values(x))
    assert np.allclose(found, evaluate(explained.graph, x), atol=1e-5)
    assert np.allclose(found, explained.explanation.reference_outputs(classifier, x), atol=1e-9)


def relus(graph: Network) -> int:
    return sum(isinstance(node.operator, Relu) for node in graph.nodes)


def test_equal_masks_the_whole_input_and_the_baseline_take_no_copy() -> None:
    own = relus(small())
    assert relus(FeatureAblation(groups=(0, 0, 0, 1, 1, 1)).graph(small())) == 3 * own
    assert relus(FeatureAblation(groups=(0,) * 6).graph(small())) == own
    assert relus(ShapleyValues(groups=(0, 0, 1, 1, 1, 2)).graph(small())) == (2**3 - 1) * own
    # Four subsets of two features are all there are, however many are drawn.
    assert relus(Lime(groups=(0, 0, 0, 1, 1, 1), draws=Draws(count=50)).graph(small())) == 3 * own


@pytest.mark.parametrize("deep", [False, True])
def test_shapley_values_and_kernel_shap_add_up_and_agree_on_what_is_linear(deep: bool) -> None:
    classifier = small(2) if deep else from_torch(nn.Sequential(nn.Linear(6, 3)), 6)
    x = np.random.default_rng(1).normal(size=(9, 6))
    given = {"groups": (0, 0, 0, 1, 1, 2), "baseline": (0.5,), "grouped": True}
    values = [
        evaluate(one.graph(classifier), x)[:, 3:]
        for one in (ShapleyValues(**given), KernelShap(draws=Draws(count=20), **given))
    ]
    score = evaluate(classifier, x)[:, 0] - evaluate(classifier, np.full((1, 6), 0.5))[0, 0]
    assert all(np.allclose(one.sum(axis=1), score, atol=1e-6) for one in values)
    assert np.allclose(values[0], values[1], atol=1e-6) != deep


def test_occlusion_is_what_is_lost_and_windows_at_the_border_are_cut() -> None:
    linear = from_torch(nn.Sequential(nn.Linear(5, 2)), 5)
    weight, x = linear.nodes[0].operator.weight[0], np.array([[1.0, 2.0, 3.0, 4.0, 5.0]])
    lost = weight * x[0]
    by_window = evaluate(Occlusion(window=(2,), grouped=True).graph(linear), x)[0, 2:]
    assert np.allclose(by_window, [lost[:2].sum(), lost[2:4].sum(), lost[4]], atol=1e-6)
    by_entry = evaluate(Occlusion(window=(2,)).graph(linear), x)[0, 2:]
    assert np.allclose(by_entry, by_window[[0, 0, 1, 1, 2]], atol=1e-6)


@pytest.mark.parametrize("explanation", ALL, ids=lambda one: one.method)
@pytest.mark.parametrize("bias", [30.0, -1e5])
def test_what_is_added_to_every_score_costs_no_digits(explanation: MaskedCopies, bias: float) -> None:
    """Single precision of a score would be rougher than the map, which it does not change but for RISE."""
    last = small().nodes[-1]
    raised = replace(last, operator=replace(last.operator, bias=last.operator.bias + np.float32(bias)))
    classifier = replace(small(), nodes=(*small().nodes[:-1], raised))
    _, _, content = unrolled(classifier, explanation)
    x = np.random.default_rng(0).uniform(-1, 1, (20, 6)).astype(np.float32)
    found = Runtime(with_free_batch(onnx.load_from_string(content)).SerializeToString()).rows(x)[:, 3:]
    expected = explanation.reference(classifier, x.astype(np.float64))
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_masks_of_rise_are_kept_with_the_chance_they_say_and_alike_in_all_channels() -> None:
    masks = RandomMasks(count=400, cells=3, keep=0.3).values((2, 7, 8)).reshape(400, 2, 7, 8)
    assert (masks[:, 0] == masks[:, 1]).all()
    assert masks.min() >= 0
    assert masks.max() <= 1
    assert abs(masks.mean() - 0.3) < 0.03
    assert RandomMasks(count=400).values((5,)).mean(axis=0) == pytest.approx(0.5, abs=0.1)


IMAGE, TABLE, LARGE = (1, 8, 8), (64,), (3, 224, 224)
REFUSED: list[tuple[str, dict[str, Any], tuple[int, ...], str]] = [
    ("occlusion", {"window": 9}, IMAGE, "window: 1 x 9 x 9 is larger than the input, which is 1 x 8 x 8"),
    (
        "occlusion",
        {"window": [2, 2]},
        TABLE,
        "window: has 2 lengths for inputs without a shape; give one, or say the sides of an image",
    ),
    ("occlusion", {"window": 2, "stride": 3}, IMAGE, "stride: 1 x 3 x 3 is longer than the window"),
    ("occlusion", {"window": 2, "shape": [1, 7, 7]}, IMAGE, "shape: 1 x 7 x 7 is not that of 64 entries"),
    ("occlusion", {"window": 0}, TABLE, "map: window: 0 is too small"),
    ("occlusion", {"window": []}, TABLE, "window: holds 0 values"),
    ("occlusion", {"window": 1, "baseline": "black"}, TABLE, "map: baseline: 'black' is not a number"),
    ("feature-ablation", {"baseline": 2}, TABLE, "baseline: 2 is outside of the range 0 to 1 of entry 0"),
    ("feature-ablation", {"baseline": [0, 1]}, TABLE, "baseline: holds 2 numbers for 64 entries"),
    ("feature-ablation", {"groups": [0, 1]}, TABLE, "groups: holds 2 numbers for 64 entries"),
    ("shapley", {"patch": 4, "groups": [0] * 64}, IMAGE, "groups: patches are given too"),
    ("shapley", {}, TABLE, "needs 1.84467e+19 copies of the network, more than 4096"),
    ("kernel-shap", {"draws": {"count": 3}}, TABLE, "draws_count: 3 draws do not determine the values of 64"),
    ("lime", {"ridge": 0, "draws": {"count": 3}}, TABLE, "3 draws do not determine the coefficients of 64"),
    (
        "rise",
        {"masks": {"count": 3, "cells": 2}},
        TABLE,
        "masks_cells: 2 do not fit inputs of 64; give 0 for one a feature, or say the sides of an image",
    ),
    ("feature-ablation", {}, LARGE, "features: 150528 are more than 4096"),
    ("lime", {"draws": {"count": 9}}, LARGE, "features: 150528 are more than 4096"),
    ("lime", {"draws": {"count": 4000}, "patch": 56}, LARGE, "4000 masks of 150528 entries, which are too"),
    ("rise", {"masks": {"count": 4000}}, LARGE, "4000 masks of 150528 entries, which are too many"),
    ("occlusion", {"window": 8, "stride": 4}, LARGE, "3025 masks of 150528 entries, which are too many"),
    ("rise", {"masks": {"count": 0}}, TABLE, "masks.count: 0 is too small"),
]


@pytest.mark.parametrize(("method", "entries", "shape", "what"), REFUSED)
def test_what_does_not_fit_is_refused(
    method: str, entries: dict[str, Any], shape: tuple[int, ...], what: str
) -> None:
    def completed() -> Explanation:
        found: Explanation = parse_record(METHODS.known[method], {"method": method, **entries}, "map")
        size = math.prod(shape)
        return found.for_data(shape, np.zeros(size), np.ones(size))

    with pytest.raises(SalverError) as caught:
        completed()
    assert what in str(caught.value)
    assert caught.value.hint


def test_the_shape_of_an_image_may_leave_the_channels_out() -> None:
    known = Occlusion(window=(4, 4), shape=(8, 8)).for_data((64,), np.zeros(64), np.ones(64))
    assert known.sides(relu_network([64, 2], np.random.default_rng(0))) == (1, 8, 8)
    table = FeatureAblation().for_data((784, 1), np.zeros(784), np.ones(784))
    assert table.sides(relu_network([784, 2], np.random.default_rng(0))) == (784,)


@pytest.mark.parametrize("suite", ["perturbation", "perturbation-data"])
def test_files_of_the_suites_hold_neither_sign_nor_product(suite: str) -> None:
    entries = tomllib.loads((ROOT / "benchmarks" / f"{suite}.toml").read_text())["family"]
    sizes = {"digits": 64, "breast": 30, "bandit": 5, "adult": 46, "mnist": 784}
    methods = set()
    for entry in entries:
        given = entry["params"]
        size = sizes[given["network"].partition("-")[0]]
        found = parse_record(METHODS.known[given["map"]["method"]], given["map"], "map")
        assert isinstance(found, MaskedCopies)
        side = math.isqrt(size)
        shape = (1, side, side) if size in (64, 784) else (size,)
        assert "conv" not in given["network"]
        graph = found.for_data(shape, np.zeros(size), np.ones(size)).graph(
            relu_network([size, 3, 2], np.random.default_rng(0))
        )
        kinds = {node.op_type for node in to_model(graph).graph.node}
        assert kinds <= {"Gemm", "MatMul", "Relu", "Concat"}, entry
        methods.add(found.method)
    assert suite != "perturbation" or methods == {one.method for one in ALL}


TINY = [
    Occlusion(window=(2,), stride=(1,), baseline=(0.25,)),
    FeatureAblation(groups=(0, 1, 1), grouped=True),
    Rise(masks=RandomMasks(count=3)),
    ShapleyValues(groups=(0, 1, 1), grouped=True),
    KernelShap(draws=Draws(count=8)),
    Lime(draws=Draws(count=4)),
]


@pytest.mark.slow
@pytest.mark.parametrize("explanation", TINY, ids=lambda one: one.method)
def test_answers_of_enumeration_and_solvers_agree_and_proofs_are_accepted(
    explanation: MaskedCopies, tmp_path: Path
) -> None:
    seen = set()
    for seed in range(4):
        classifier = relu_network([3, 3, 2], np.random.default_rng(seed))
        small = InstanceFactory("saliency", classifier, "n", "d", (3,), (-1.0, 1.0), exact=True)
        x = np.random.default_rng([seed, 5]).uniform(-1, 1, 3).astype(np.float32)
        point = Point(seed, x, int(small.predict(x[None])[0]))
        for question in (TopKChanges(k=1), EntryMoves(delta=0.2)):
            draft = small.pose(point, question, explanation.of(point.label)).draft(0.2, Found(0.0))
            path = tmp_path / "query.onnx"
            path.write_bytes(to_bytes(to_model(draft.graph)))
            query = read_again(Query(path, draft.graph, draft.prop))
            truth = draft.facts.expected
            if truth is Truth.UNKNOWN:
                continue
            result = hybrid.solve(query, Budget(30.0), Options())
            assert result.verdict.value == truth.value, (seed, question)
            seen.add(truth)
            if truth is Truth.UNSAT:
                steps = prove(query, Budget(20.0))
                assert steps is not None
                assert accepted(query, query.prop, steps)
    assert seen == {Truth.SAT, Truth.UNSAT}


@pytest.mark.parametrize("explanation", [FeatureAblation(patch=(4,)), Occlusion(window=(4,))])
def test_ties_of_one_feature_name_the_option_that_ends_them(explanation: MaskedCopies) -> None:
    """Of four entries with one value the largest two are tied; grouped they are one entry."""
    factory = InstanceFactory(
        "test", relu_network([64, 8, 3], np.random.default_rng(0)), "net", "", (1, 8, 8), None
    )
    point = Point(0, np.random.default_rng(1).uniform(0, 1, 64).astype(np.float32), 0)
    with pytest.raises(
        UndefinedConditionError, match=r"are tied; entries of one \w+ are equal: say --grouped"
    ):
        factory.pose(point, TopKChanges(k=2), explanation)
    factory.pose(point, TopKChanges(k=2), explanation.model_copy(update={"grouped": True}))
