"""Maps made of gradients at fixed places, held against Captum with the same places and draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from salver.core.errors import SalverError
from salver.core.records import parse_record
from salver.explain import places
from salver.explain.expected_gradients import ExpectedGradients, LocalExpectedGradients, References
from salver.explain.explanation import METHODS, Explained, Explanation, Form
from salver.explain.gradient import Gradient
from salver.explain.gradient_x_input import GradientXInput
from salver.explain.integrated_gradients import IntegratedGradients, LocalIntegratedGradients
from salver.explain.noise_squares import SquareGrad, VarGrad
from salver.explain.quadrature import Rule, quadrature
from salver.explain.smoothgrad import Noise, SmoothGrad
from salver.nets.network import Network, evaluate, lower
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.operators import Linear, Mul, Sign
from salver.nets.runtime import Runtime, with_free_batch
from salver.nets.torch_bridge import from_torch
from salver.nets.torch_export import read_module
from tests.builders import captum
from tests.builders.activations import seeded, with_whole_weights

SIZE = 16
NOISE = Noise(draws=4, sigma=0.5, seed=2)
BASELINE = tuple((np.arange(SIZE) % 5 / 4 - 0.5).tolist())
"""Dyadic numbers."""
DYADIC: tuple[tuple[Rule, int], ...] = (
    ("gausslegendre", 1), ("riemann_left", 4), ("riemann_middle", 4), ("riemann_right", 4),
    ("riemann_trapezoid", 5),
)  # fmt: skip
"""Rules and how many steps they have dyadic places for."""
REFERENCES = References(baselines=((0.0,), BASELINE, (1.0,)), draws=6, sigma=0.25, seed=1)
Attributed = Callable[[nn.Module, Any], Any]


def along_line(rule: Rule, steps: int, factor: bool) -> tuple[Explanation, Attributed]:
    method = IntegratedGradients if factor else LocalIntegratedGradients
    baselines = torch.tensor(BASELINE, dtype=torch.float64).reshape(1, 1, 4, 4)

    def attributed(module: nn.Module, x: Any) -> Any:
        by = captum.IntegratedGradients(module, multiply_by_inputs=factor)
        return by.attribute(x, baselines, target=1, n_steps=steps, method=rule)

    return method(logit=1, steps=steps, quadrature=rule, baseline=BASELINE), attributed


def of_draws(kind: str, method: type[Explanation]) -> tuple[Explanation, Attributed]:
    def attributed(module: nn.Module, x: Any) -> Any:
        draws = torch.tensor(NOISE.values(SIZE)).reshape(-1, 1, 4, 4).repeat(len(x), 1, 1, 1)
        tunnel = captum.NoiseTunnel(captum.Saliency(module))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "normal", lambda mean, deviation: draws)
            return tunnel.attribute(x, nt_type=kind, nt_samples=NOISE.draws, target=1, abs=False)

    return method.model_validate({"logit": 1, "noise": NOISE}), attributed


def from_references(factor: bool) -> tuple[Explanation, Attributed]:
    method = ExpectedGradients if factor else LocalExpectedGradients

    def attributed(module: nn.Module, x: Any) -> Any:
        alphas, known, noise = REFERENCES.drawn(SIZE)
        images = [torch.tensor(part).reshape(-1, 1, 4, 4) for part in (known, noise)]
        shap = captum.GradientShap(module, multiply_by_inputs=factor)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(np.random, "uniform", lambda low, high, count: alphas)
            patch.setattr(np.random, "choice", lambda count, wanted: np.arange(wanted))
            patch.setattr(torch, "normal", lambda mean, deviation: images[1])
            one = [shap.attribute(row[None], images[0], REFERENCES.draws, target=1) for row in x]
        return torch.cat(one)

    return method(logit=1, references=REFERENCES), attributed


CASES: dict[str, tuple[Explanation, Attributed]] = {
    "product": (GradientXInput(logit=1), lambda m, x: captum.InputXGradient(m).attribute(x, target=1)),
    **{f"{rule}": along_line(rule, 5, True) for rule in get_args(Rule)},
    **{f"{rule}, local": along_line(rule, 5, False) for rule in get_args(Rule)},
    "exact places": along_line("riemann_right", 4, False),
    "long": along_line("gausslegendre", 20, True),
    "squares": of_draws("smoothgrad_sq", SquareGrad),
    "variance": of_draws("vargrad", VarGrad),
    "references": from_references(True),
    "references, local": from_references(False),
}


def read(module: nn.Module) -> Network:
    return read_module(module.float(), torch.zeros(1, 1, 4, 4)).network


def by_captum(module: nn.Module, attributed: Attributed, x: np.ndarray) -> np.ndarray:
    points = torch.tensor(x, dtype=torch.float64).reshape(-1, 1, 4, 4).requires_grad_()
    return attributed(module.double(), points).detach().numpy().reshape(len(x), -1)


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    assert expected.any()
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


IMAGES = ("pooled-with-padding", "residual")
POOLED = ("product", "gausslegendre", "exact places", "references", "variance")


@pytest.mark.parametrize(
    ("case", "name"),
    [
        *((case, "dense") for case in CASES),
        *(pytest.param(case, name, marks=pytest.mark.slow) for case in POOLED for name in IMAGES),
    ],
)
def test_the_map_is_captums(case: str, name: str) -> None:
    """In the graph, in ONNX Runtime, as a program, from the definition, and by the quick way."""
    (explanation, attributed), module = CASES[case], seeded(name)
    network = read(module)
    x = np.random.default_rng(0).normal(size=(12, SIZE)).astype(np.float32).astype(np.float64)
    expected = by_captum(module, attributed, x)
    graph = explanation.graph(network)
    assert_close(evaluate(graph, x)[:, 3:], expected)
    assert_close(lower(graph).evaluate(x)[0][:, 3:], expected)
    assert_close(explanation.reference(network, x), expected)
    logits, values = explanation.values(Explained(network, lower(network), explanation), x)
    assert_close(values, expected)
    assert np.allclose(logits, evaluate(network, x), atol=1e-6)
    runtime = Runtime(to_bytes(with_free_batch(to_model(graph))))
    assert_close(runtime.rows(x.astype(np.float32))[:, 3:], expected)
    assert_close(runtime.outputs(x[0])[None, 3:], expected[:1])


KINKS: dict[str, tuple[Explanation, Attributed]] = {
    **{case: CASES[case] for case in ("product", "squares", "variance", "references", "references, local")},
    "smoothgrad": of_draws("smoothgrad", SmoothGrad),
    **{
        f"{rule}{'' if factor else ', local'}": along_line(rule, steps, factor)
        for rule, steps in DYADIC
        for factor in (True, False)
    },
}


@pytest.mark.parametrize(
    ("case", "name"),
    [
        *((case, "normed-and-pooled") for case in KINKS),
        *(pytest.param(case, name, marks=pytest.mark.slow) for case in KINKS for name in ("dense", *IMAGES)),
    ],
)
def test_at_kinks_and_ties_the_map_is_captums_too(
    case: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With small whole weights and draws in quarters every place of a grid point is exact: many are on kinks.

    Held in ONNX Runtime too, in a batch.
    """
    for kind, drawn in ((Noise, "values"), (References, "drawn")):
        monkeypatch.setattr(kind, drawn, in_quarters(getattr(kind, drawn)))
    (explanation, attributed), module = KINKS[case], with_whole_weights(name)
    x = np.random.default_rng(0).choice([-1.5, -0.5, 0.5, 1.5], (40, SIZE)).astype(np.float64)
    network = read(module)
    graph, expected = explanation.graph(network), by_captum(module, attributed, x)
    assert_close(evaluate(graph, x)[:, 3:], expected)
    assert_close(explanation.reference(network, x), expected)
    together = Runtime(to_bytes(with_free_batch(to_model(graph)))).rows(x.astype(np.float32))
    assert_close(together[:, 3:], expected)


def in_quarters(drawn: Callable[..., Any]) -> Callable[..., Any]:
    def rounded(record: Any, size: int) -> Any:
        found = drawn(record, size)
        if isinstance(found, tuple):
            return tuple(np.round(4 * part) / 4 for part in found)
        return np.round(4 * found) / 4

    return rounded


def test_lrp_0_is_gradient_x_input() -> None:
    """Also with biases, which Captum counts in the denominators."""
    from captum.attr._utils.lrp_rules import EpsilonRule

    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(SIZE, 8), nn.ReLU(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3))
    network = from_torch(module, SIZE)
    for layer in module:
        if isinstance(layer, nn.Linear):
            layer.rule = EpsilonRule(epsilon=0)
    x = np.random.default_rng(0).normal(size=(12, SIZE)).astype(np.float32)
    points = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    found = captum.LRP(module.double()).attribute(points, target=1).detach().numpy()
    assert_close(GradientXInput(logit=1).reference(network, x), found)


def counts(graph: Network) -> tuple[int, int]:
    operators = [type(node.operator) for node in graph.nodes]
    return operators.count(Sign), operators.count(Linear)


def test_equal_places_are_one_copy_and_fixed_ones_a_constant() -> None:
    """Of the trapezoid's places one is b, which is no copy, and one is x, where the logits are."""
    network = read(seeded("dense"))
    alone = counts(Gradient(logit=1).graph(network))[0]
    graph = LocalIntegratedGradients(logit=1, steps=5, quadrature="riemann_trapezoid").graph(network)
    assert counts(graph)[0] == 4 * alone
    references = References(baselines=((0.5,),), draws=7)
    assert counts(LocalExpectedGradients(references=references).graph(network))[0] == 7 * alone
    twice = IntegratedGradients(logit=1, steps=2, quadrature="riemann_right").graph(network)
    assert sum(isinstance(node.operator, Mul) for node in twice.nodes) == 2 * (alone - 1) + 1


@pytest.mark.slow
def test_maps_with_products_say_so() -> None:
    network = read(seeded("dense"))
    for explanation, _ in CASES.values():
        products = lower(explanation.graph(network)).has_products
        assert products == (explanation.form is Form.PRODUCTS)


def test_attacks_look_where_the_gradients_are() -> None:
    x = np.linspace(-1, 1, SIZE)
    method = IntegratedGradients(steps=3, quadrature="riemann_trapezoid", baseline=BASELINE)
    assert np.allclose(method.looks_at(x), [(np.array(BASELINE) + x) / 2, x])
    alphas, known, noise = REFERENCES.drawn(SIZE)
    expected = alphas[:, None] * (x + noise) + (1 - alphas[:, None]) * known
    assert np.allclose(ExpectedGradients(references=REFERENCES).looks_at(x), expected, atol=1e-6)


def test_points_that_do_not_fit_at_once_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    network = read(seeded("dense"))
    explained = Explained(network, lower(network), explanation := ExpectedGradients(references=REFERENCES))
    x = np.random.default_rng(0).normal(size=(7, SIZE))
    whole = explanation.values(explained, x)
    monkeypatch.setattr(places, "MOST_ENTRIES", 3 * REFERENCES.draws * SIZE)
    parts = explanation.values(explained, x)
    assert all(np.allclose(one, other, rtol=1e-12) for one, other in zip(whole, parts, strict=True))


def test_draws_are_seeded_and_binary32() -> None:
    found = REFERENCES.drawn(SIZE)
    assert all(np.array_equal(one, other) for one, other in zip(found, REFERENCES.drawn(SIZE), strict=True))
    assert all(np.array_equal(one.astype(np.float32), one) for one in found)
    other = REFERENCES.model_copy(update={"seed": 2}).drawn(SIZE)
    assert not any(np.array_equal(one, another) for one, another in zip(found, other, strict=True))


@pytest.mark.parametrize(
    ("method", "entries", "what"),
    [
        ("integrated-gradients", {"steps": 0}, "steps: 0 is too small"),
        ("integrated-gradients", {"quadrature": "gauslegendre"}, "did you mean gausslegendre?"),
        ("integrated-gradients", {"baseline": []}, "baseline: holds 0 values"),
        ("integrated-gradients", {"baseline": [float("nan")]}, "is not a finite number"),
        ("square-grad", {"noise": {"draws": 0, "sigma": 1.0}}, "noise.draws: 0 is too small"),
        ("expected-gradients", {"references": {"draws": 0}}, "references.draws: 0 is too small"),
        ("expected-gradients", {"references": {"draws": 1, "baselines": []}}, "holds 0 values"),
    ],
)
def test_bad_entries_are_one_clear_line(method: str, entries: dict[str, Any], what: str) -> None:
    with pytest.raises(SalverError) as caught:
        parse_record(METHODS.known[method], entries, "suite")
    assert what in str(caught.value)


def test_what_does_not_fit_the_network_or_the_data_is_refused() -> None:
    network = read(seeded("dense"))
    with pytest.raises(SalverError, match="baseline: holds 3 numbers for 16 entries; give one number"):
        IntegratedGradients(baseline=(0.0, 0.5, 1.0)).graph(network)
    with pytest.raises(SalverError, match="steps: 1 is too few for riemann_left; give 2 or more"):
        IntegratedGradients(steps=1, quadrature="riemann_left").graph(network)
    with pytest.raises(SalverError, match="noise_draws: 1 has no variance; give 2 or more"):
        VarGrad(noise=Noise(draws=1, sigma=1.0)).graph(network)
    low, high = np.zeros(SIZE), np.ones(SIZE)
    outside = References(baselines=((0.0,), (2.0,)), draws=1)
    for method in (LocalIntegratedGradients(baseline=(2.0,)), ExpectedGradients(references=outside)):
        with pytest.raises(SalverError, match=r"baselines?: 2 is outside of the range 0 to 1 of entry 0"):
            method.for_data((1, 4, 4), low, high)
    inside = IntegratedGradients(baseline=(1.0,))
    assert inside.for_data((1, 4, 4), low, high) == inside


@pytest.mark.parametrize("rule", get_args(Rule))
def test_a_quadrature_has_captums_places_and_weights(rule: Rule) -> None:
    from captum.attr._utils.approximation_methods import approximation_parameters

    weights, alphas = approximation_parameters(rule)
    for steps in (2, 7, 8, 50, 100):
        found = quadrature(rule, steps)
        assert np.array_equal(found[0], alphas(steps))
        assert np.allclose(found[1], weights(steps))


def test_records_refuse_what_is_no_number() -> None:
    with pytest.raises(ValidationError):
        IntegratedGradients.model_validate({"baseline": "zero"})
