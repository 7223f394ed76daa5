"""What must not change a verdict, and what may change it in one direction only; no ground truth needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from experiments.soundness.networks import Layer, dense, random_layers, single
from experiments.soundness.queries import Array
from salver.explain.unroll import SaliencyMap, logit_combination, unroll
from salver.families import conditions
from salver.nets.network import lower
from salver.nets.onnx.writer import to_bytes, to_model
from salver.oracle.exact import exact_margin, exact_outputs
from salver.solvers.bounding.propagation import propagate
from salver.solvers.hybrid.solver import solve
from salver.solvers.query import Budget, Options, Query, Result, Verdict
from salver.spec import Property, float32_down, float32_up
from tests.builders.symmetries import REWRITINGS

DECISIVE = {Verdict.SAT, Verdict.UNSAT}
MAY_BECOME = {"split": (Verdict.UNKNOWN,)}
"""Copies of a neuron may differ at z = 0, where masks are closed: more points there to be in doubt about."""
MOST_OPEN = 12


@dataclass(frozen=True, eq=False)
class Question:
    """`label`'s saliency within `delta` of `reference`, while one of `targets` wins, for x within `reach`."""

    layers: list[Layer]
    kind: SaliencyMap
    centre: Array
    reach: float
    label: int
    reference: Array
    delta: float
    targets: tuple[int, ...]

    def query(self, folder: Path) -> Query:
        classifier = dense(self.layers)
        logits = classifier.output_size
        network = unroll(classifier, logit_combination(logits, self.label), self.kind)
        clauses = (
            *conditions.saliency_box(logits, self.reference, self.delta),
            *conditions.some_class_beats(self.label, self.targets),
        )
        box = float32_down(self.centre - self.reach), float32_up(self.centre + self.reach)
        path = folder / f"{np.random.default_rng().integers(2**60)}.onnx"
        path.write_bytes(to_bytes(to_model(network)))
        return Query(path, network, Property(*box, clauses, network.output_size))


def question(seed: int) -> Question:
    """A random network, small enough for milliseconds, with a delta near where the verdict turns."""
    rng = np.random.default_rng((seed, 4))
    sizes = [int(rng.integers(2, 6)), *rng.integers(4, 11, int(rng.integers(1, 4))).tolist(), 4]
    layers = random_layers(rng, sizes, str(rng.choice(["normal", "dyadic", "sparse"])))
    centre = single(rng.uniform(-1.0, 1.0, sizes[0]))
    classifier = dense(layers)
    label = int(lower(classifier).evaluate(centre)[0][0].argmax())
    kind: SaliencyMap = "abs" if rng.random() < 0.2 else "raw"
    program = lower(unroll(classifier, logit_combination(4, label), kind))
    reach = 1.0
    while propagate(program, centre - reach, centre + reach, method="interval").undecided > MOST_OPEN:
        reach *= 0.7
    x = rng.uniform(centre - reach, centre + reach, (2000, sizes[0]))
    outputs = program.evaluate(np.vstack([centre, x]))[0]
    change = np.abs(outputs[:, 4:] - outputs[0, 4:]).max(axis=1)
    flips = outputs[:, :4].argmax(axis=1) != label
    least = max(float(change[flips if flips.any() else slice(None)].min()), 0.02)
    delta = least * float(rng.choice([0.5, 0.9, 1.1, 2.0]))
    others = tuple(k for k in range(4) if k != label)
    return Question(layers, kind, centre, reach, label, outputs[0, 4:], delta, others)


def answer(asked: Question, folder: Path) -> tuple[Query, Result]:
    query = asked.query(folder)
    return query, solve(query, Budget(20.0), Options())


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], tuple[Query, Result]]:
    """The answer to the question of a seed as it is; asked once."""
    folder = tmp_path_factory.mktemp("answered")
    return cache(lambda seed: answer(question(seed), folder))


def assert_no_flip(sat: tuple[Query, Result], unsat: tuple[Query, Result]) -> None:
    """`sat` and `unsat` contradict each other if the witness holds over the reals."""
    if sat[1].verdict is Verdict.SAT and unsat[1].verdict is Verdict.UNSAT:
        assert exact_margin(sat[0].network, sat[0].prop, sat[1].witness) < 0


@pytest.mark.parametrize("seed", range(6))
def test_rewriting_the_network_keeps_the_verdict(
    seed: int, tmp_path: Path, answered: Callable[[int], tuple[Query, Result]]
) -> None:
    asked, base = question(seed), answered(seed)
    rng = np.random.default_rng(seed)
    for name, rewriting in REWRITINGS.items():
        changed = answer(replace(asked, layers=rewriting(rng, asked.layers)), tmp_path)
        x = rng.uniform(base[0].prop.input_lower, base[0].prop.input_upper)
        assert exact_outputs(base[0].network, x) == exact_outputs(changed[0].network, x), name
        assert_no_flip(base, changed)
        assert_no_flip(changed, base)
        if base[1].verdict in DECISIVE:
            kept = {base[1].verdict, *MAY_BECOME.get(name, ())}
            assert changed[1].verdict in kept, name


@pytest.mark.parametrize("seed", range(100, 106))
def test_a_larger_delta_never_turns_sat_into_unsat(seed: int, tmp_path: Path) -> None:
    asked = question(seed)
    answers = [answer(replace(asked, delta=asked.delta * f), tmp_path) for f in (0.25, 0.9, 1.0, 1.2, 4.0)]
    for number, smaller in enumerate(answers):
        for larger in answers[number + 1 :]:
            assert_no_flip(smaller, larger)


@pytest.mark.parametrize("seed", range(200, 206))
def test_a_smaller_box_never_turns_unsat_into_sat(seed: int, tmp_path: Path) -> None:
    asked = question(seed)
    answers = [answer(replace(asked, reach=asked.reach * f), tmp_path) for f in (0.1, 0.5, 0.8, 1.0)]
    for number, smaller in enumerate(answers):
        for larger in answers[number + 1 :]:
            assert_no_flip(smaller, larger)


@pytest.mark.parametrize("seed", range(300, 306))
def test_more_targets_never_turn_sat_into_unsat(seed: int, tmp_path: Path) -> None:
    asked = question(seed)
    every = answer(asked, tmp_path)
    single_targets = [answer(replace(asked, targets=(k,)), tmp_path) for k in asked.targets]
    pair = answer(replace(asked, targets=asked.targets[:2]), tmp_path)
    for one in (pair, *single_targets):
        assert_no_flip(one, every)
    for one in single_targets[:2]:
        assert_no_flip(one, pair)
    if all(one[1].verdict is Verdict.UNSAT for one in single_targets):
        assert every[1].verdict is not Verdict.SAT or exact_margin_of(every) < 0


def exact_margin_of(found: tuple[Query, Result]) -> float:
    return float(exact_margin(found[0].network, found[0].prop, found[1].witness))


def test_the_questions_have_both_answers(answered: Callable[[int], tuple[Query, Result]]) -> None:
    """A campaign whose answers are all alike would show nothing."""
    verdicts = [answered(seed)[1].verdict for seed in range(12)]
    assert verdicts.count(Verdict.SAT) >= 3
    assert verdicts.count(Verdict.UNSAT) >= 3
