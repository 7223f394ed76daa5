"""Sampled values are those of the installed Quantus on the same inputs, and certified ones bound them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import salver
from salver.metrics.measurement import Measurement
from salver.metrics.metric import Evaluated
from salver.metrics.quantus import CertifiedMetric, explain_func

pytestmark = pytest.mark.slow
EPSILON, DRAWS, SEED = 0.6, 25, 7
MODULE = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).eval()
X = np.random.default_rng(0).normal(size=(2, 8)).astype(np.float32)


@pytest.fixture(scope="module", autouse=True)
def weights() -> None:
    torch.manual_seed(1)
    for layer in (MODULE[0], MODULE[2]):
        layer.reset_parameters()


@pytest.fixture
def quantus() -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import quantus

        yield quantus


def _measured(metric: str, **given: Any) -> salver.Measured:
    return salver.measure(MODULE, X, metric, epsilon=EPSILON, draws=DRAWS, seed=SEED, **given)


def _asked(metric: Any, point: int, label: int) -> float:
    """What Quantus says of one input, with its own draws from the same seed."""
    np.random.seed(SEED + point)
    explain = explain_func(salver.Attribution(MODULE))
    return float(metric(MODULE, X[point : point + 1], np.array([label]), explain_func=explain)[0])


def _uniform(quantus: Any) -> dict[str, Any]:
    return {
        "nr_samples": DRAWS, "normalise": False, "abs": False, "disable_warnings": True,
        "perturb_func": quantus.perturb_func.batch_uniform_noise,
        "perturb_func_kwargs": {"lower_bound": EPSILON, "upper_bound": None},
    }  # fmt: skip


@pytest.mark.parametrize("metric", ["max-sensitivity", "local-lipschitz", "relative-input-stability"])
def test_the_originals_value_is_that_of_quantus(quantus: Any, metric: str) -> None:
    common = _uniform(quantus)
    original = {
        "max-sensitivity": lambda: quantus.MaxSensitivity(**common),
        "local-lipschitz": lambda: quantus.LocalLipschitzEstimate(**common),
        "relative-input-stability": lambda: quantus.RelativeInputStability(
            **common, return_nan_when_prediction_changes=False
        ),
    }[metric]()
    for point, row in enumerate(_measured(metric, timeout=0.05).rows):
        assert row.original == pytest.approx(_asked(original, point, row.here.label), rel=1e-4)
        assert row.original > 0


def test_sampled_is_quantus_in_the_maximum_norm(quantus: Any) -> None:
    norm = {"norm_numerator": quantus.norm_func.linf_norm, "norm_denominator": quantus.norm_func.linf_norm}
    original = quantus.MaxSensitivity(**_uniform(quantus), **norm)
    for point, row in enumerate(_measured("max-sensitivity", timeout=0.5).rows):
        assert row.sampled == pytest.approx(_asked(original, point, row.here.label), rel=1e-4)
        assert row.sampled <= row.certified
    lipschitz = quantus.LocalLipschitzEstimate(
        **_uniform(quantus),
        norm_numerator=lambda a, b: np.abs(a - b).max(axis=-1),
        norm_denominator=lambda a, b: np.abs(a - b).max(axis=-1),
    )
    for point, row in enumerate(_measured("local-lipschitz", nearest=1e-3, timeout=0.2).rows):
        assert row.sampled == pytest.approx(_asked(lipschitz, point, row.here.label), rel=1e-4)


def test_consistency_is_that_of_quantus(quantus: Any) -> None:
    for row in _measured("consistency", tolerance=0.6).rows:
        seen = _drawn(row)
        x = np.concatenate([row.here.x[None], seen.x]).astype(np.float32)
        low = row.here.map - 0.6 * np.abs(row.here.map).max()
        high = row.here.map + 0.6 * np.abs(row.here.map).max()

        def same(a: Any, low: Any = low, high: Any = high) -> int:
            return int(((a >= low) & (a <= high)).all())

        original = quantus.Consistency(
            discretise_func=same, abs=False, normalise=False, disable_warnings=True
        )
        explain = explain_func(salver.Attribution(MODULE))
        labels = np.full(len(x), row.here.label)
        shares = original(MODULE, x, labels, explain_func=explain, batch_size=len(x))
        assert row.original == pytest.approx(shares[0], abs=1e-6)
        assert row.certified <= row.sampled


def _drawn(row: Measurement) -> Evaluated:
    from salver.metrics.measure import draws

    posed = row.asked.posed
    x = draws(row.here, posed.factory.box(posed.point.x, EPSILON), None, DRAWS, SEED + row.index)
    return Evaluated(x, *posed.map.values(x))


def test_top_k_intersection_is_the_plain_overlap_where_nothing_ties() -> None:
    for row in _measured("top-k", k=2).rows:
        seen, best = _drawn(row), set(np.argsort(-row.here.map)[:2])
        overlaps = [len(best & set(np.argsort(-one)[:2])) / 2 for one in seen.maps]
        assert row.sampled == min(overlaps)
        assert row.certified <= row.sampled


def test_certified_metrics_stand_in_quantus_evaluate(
    quantus: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = MODULE(torch.from_numpy(X)).argmax(1).numpy()
    given = {"epsilon": EPSILON, "draws": DRAWS, "seed": SEED, "timeout": 0.5}
    metrics = {
        "certified": CertifiedMetric("max-sensitivity", **given),
        "attacked": CertifiedMetric("max-sensitivity", side="attacked", **given),
        "sampled": quantus.MaxSensitivity(
            **_uniform(quantus), norm_numerator=quantus.norm_func.linf_norm,
            norm_denominator=quantus.norm_func.linf_norm,
        ),
    }  # fmt: skip
    explain = explain_func(salver.Attribution(MODULE))
    found = quantus.evaluate(
        metrics, {"ours": explain}, MODULE, X, labels, agg_func=np.array, explain_func_kwargs={}
    )["ours"]
    assert "Failed" not in capsys.readouterr().out
    assert (found["sampled"] <= found["certified"]).all()
    assert (found["attacked"] <= found["certified"]).all()
    assert len(found["certified"]) == len(X)
