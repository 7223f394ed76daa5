"""Scale does not matter: a layer, the input or the outputs times a power of two never change a verdict.

All factors are exact in binary32, so the scaled query is the same question in other units.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from experiments.soundness.networks import Layer, dense, random_layers, single
from experiments.soundness.queries import Array
from experiments.soundness.variants import SOLVERS
from salver.explain.unroll import SaliencyMap, logit_combination, unroll
from salver.families import conditions
from salver.nets.network import lower
from salver.nets.onnx.writer import to_bytes, to_model
from salver.solvers.query import Budget, Options, Query, Verdict
from salver.spec import Clause, Property

EXPONENTS = (-40, -13, 13, 40)
DECISIVE = {Verdict.SAT, Verdict.UNSAT}
LOGITS = 3


@dataclass(frozen=True, eq=False)
class Scaled:
    """A classifier, a box, and a condition on its saliency map in units of `unit`."""

    layers: Sequence[Layer]
    kind: SaliencyMap
    low: Array
    high: Array
    clauses: tuple[Clause, ...]
    unit: float = 1.0

    def query(self, folder: Path) -> Query:
        network = unroll(dense(self.layers), logit_combination(LOGITS, 0), self.kind)
        clauses = tuple(
            tuple(tuple(replace(a, constant=a.constant * self.unit) for a in part) for part in clause)
            for clause in self.clauses
        )
        path = folder / f"{np.random.default_rng().integers(2**60)}.onnx"
        path.write_bytes(to_bytes(to_model(network)))
        return Query(path, network, Property(self.low, self.high, clauses, network.output_size))


def scaled_query(seed: int) -> Scaled:
    """Two hidden layers over two or three inputs; every third query has a threshold nothing reaches."""
    rng = np.random.default_rng((seed, 9))
    sizes = [int(rng.integers(2, 4)), *rng.integers(3, 6, 2).tolist(), LOGITS]
    layers = random_layers(rng, sizes, "normal")
    centre = single(rng.uniform(-1.0, 1.0, sizes[0]))
    kind: SaliencyMap = "abs" if seed % 2 else "raw"
    program = lower(unroll(dense(layers), logit_combination(LOGITS, 0), kind))
    reference = program.evaluate(centre)[0][0, LOGITS:]
    delta = float(np.abs(reference).max()) * (0.5, 0.1, 4.0)[seed % 3]
    clauses = conditions.saliency_box(LOGITS, reference, delta)
    wins = conditions.some_class_beats(0, range(1, LOGITS))
    low, high = single(centre - 0.5), single(centre + 0.5)
    return Scaled(layers, kind, low, high, (*clauses, *wins))


def outputs_scaled(query: Scaled, factor: float) -> Scaled:
    """The last layer: logits and gradient in another unit."""
    *rest, (weight, bias) = query.layers
    return replace(query, layers=[*rest, (weight * factor, bias * factor)], unit=factor)


def inputs_scaled(query: Scaled, factor: float) -> Scaled:
    """The input in another unit: the gradient is in the inverse one."""
    (weight, bias), *rest = query.layers
    box = {"low": query.low * factor, "high": query.high * factor}
    return replace(query, layers=[(weight / factor, bias), *rest], unit=1 / factor, **box)


def layer_scaled(query: Scaled, factor: float) -> Scaled:
    """The first layer, and with it all behind it; later biases follow."""
    (weight, bias), *rest = query.layers
    later = [(after, shift * factor) for after, shift in rest]
    return replace(query, layers=[(weight * factor, bias * factor), *later], unit=factor)


def compensated(query: Scaled, factor: float) -> Scaled:
    """The first layer, undone by the second: the function is the same."""
    (weight, bias), (after, shift), *rest = query.layers
    layers = [(weight * factor, bias * factor), (after / factor, shift), *rest]
    return replace(query, layers=layers)


SCALINGS: dict[str, Callable[[Scaled, float], Scaled]] = {
    "outputs": outputs_scaled,
    "inputs": inputs_scaled,
    "layer": layer_scaled,
    "compensated": compensated,
}


def verdict(name: str, query: Query) -> Verdict:
    return SOLVERS[name](query, Budget(20.0), Options()).verdict


@pytest.fixture(scope="module")
def unscaled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Verdict]:
    """What a solver says of the query of a seed as it is; asked once."""
    folder = tmp_path_factory.mktemp("unscaled")
    return cache(lambda name, seed: verdict(name, scaled_query(seed).query(folder)))


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("name", ["hybrid", "crown", "milp", "milp-scip"])
def test_a_verdict_does_not_feel_the_scale(
    name: str, scaling: str, tmp_path: Path, unscaled: Callable[[str, int], Verdict]
) -> None:
    found = set()
    for seed in (1, 2):
        query, whole = scaled_query(seed), unscaled(name, seed)
        assert whole in DECISIVE
        found.add(whole)
        for exponent in EXPONENTS:
            changed = SCALINGS[scaling](query, 2.0**exponent)
            assert verdict(name, changed.query(tmp_path)) is whole, (seed, exponent)
    assert found == DECISIVE


@pytest.mark.parametrize("scaling", SCALINGS)
def test_marabou_says_the_same_or_nothing(
    scaling: str, tmp_path: Path, unscaled: Callable[[str, int], Verdict]
) -> None:
    pytest.importorskip("maraboupy")
    for seed in range(3):
        query, truth = scaled_query(seed), unscaled("hybrid", seed)
        for exponent in (-40, 40):
            changed = SCALINGS[scaling](query, 2.0**exponent)
            assert verdict("marabou", changed.query(tmp_path)) in (truth, Verdict.UNKNOWN)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_the_attack_does_not_feel_the_scale(scaling: str, tmp_path: Path) -> None:
    query = scaled_query(2)
    assert verdict("falsify", query.query(tmp_path)) is Verdict.SAT
    for exponent in EXPONENTS:
        changed = SCALINGS[scaling](query, 2.0**exponent)
        assert verdict("falsify", changed.query(tmp_path)) is Verdict.SAT, exponent


def test_a_confirmed_point_is_one_in_every_unit(tmp_path: Path) -> None:
    """The tolerances of replay are relative: a miss by a fifth is a miss however small the outputs are."""
    query = scaled_query(2)
    x = (query.low + query.high) / 2
    for exponent in (-40, 0, 40):
        for name, scaling in SCALINGS.items():
            changed = scaling(query, 2.0**exponent)
            asked = changed.query(tmp_path)
            point = x * 2.0**exponent if name == "inputs" else x
            y = asked.replay(asked.clip(point))
            size = float(np.abs(y).max())
            assert asked.rounding(point) < 1e-3 * size
            assert (asked.confirm(point) is None) is (scaled_confirm(query, tmp_path) is None)


def scaled_confirm(query: Scaled, folder: Path) -> Array | None:
    return query.query(folder).confirm((query.low + query.high) / 2)
