"""The peers' properties on BanditNet, where enumeration knows every answer, and the sampled extremes."""

from __future__ import annotations

import numpy as np
import pytest

from salver.core.errors import SalverError
from salver.families.generate import drafts
from salver.families.search import largest
from salver.families.suite import Suite
from salver.nets.network import evaluate
from salver.oracle.enumerate import enumerate_query
from salver.spec.truth import Truth


def made(family: str, **params: object) -> list:
    entry = {"generator": family, "params": {"network": "bandit-6x6", "points": 3, **params}}
    return list(drafts(Suite(key="t", title="t", timeout=5, family=(entry,))))


def truth(draft) -> Truth:
    return enumerate_query(draft.graph, draft.prop).truth


@pytest.mark.slow
def test_a_larger_movement_is_never_easier() -> None:
    by_point: dict[int, list[Truth]] = {}
    for draft in made("gradient_width", epsilons=[0.3], deltas=[0.01, 1.0, 4.0, 50.0]):
        by_point.setdefault(draft.facts.index, []).append(truth(draft))
    assert len(by_point) == 3
    for answers in by_point.values():
        assert answers == sorted(answers, key=lambda answer: answer is Truth.UNSAT)
        assert answers[-1] is Truth.UNSAT
    assert any(answers[0] is Truth.SAT for answers in by_point.values())


@pytest.mark.slow
def test_sampled_values_are_on_the_right_side_of_the_truth() -> None:
    for draft in made("gradient_width", epsilons=[0.3], delta_factors=[0.97]):
        assert truth(draft) is Truth.SAT
    for draft in made("gradient_sign", epsilons=[0.3], level_factors=[0.97]):
        assert truth(draft) is Truth.SAT
    for draft in made("label_robustness", epsilon_factors=[1.0]):
        assert truth(draft) is Truth.SAT
        assert draft.facts.expected is Truth.SAT


@pytest.mark.parametrize("sign", [1, -1])
def test_a_level_speaks_about_the_entry_in_the_direction_of_its_sign(sign: int) -> None:
    seen = 0
    for draft in made("gradient_sign", epsilons=[0.3], count=5, levels=[0.5]):
        first = draft.facts.logits + draft.facts.question.entry
        ((atom,),), *_ = draft.prop.clauses
        at_point = evaluate(draft.graph, (draft.prop.input_lower + draft.prop.input_upper) / 2)[0, first]
        seen += np.sign(at_point) == sign
        assert atom.left == first
        assert (atom.relation, atom.constant) in {("<=", 0.5), (">=", -0.5)}
    assert seen or sign == -1


def test_the_label_question_has_no_saliency() -> None:
    (draft, *_) = made("label_robustness", epsilons=[0.1])
    assert draft.facts.saliencies == 0
    assert draft.graph is draft.classifier


@pytest.mark.parametrize(
    ("family", "params", "what"),
    [
        ("gradient_width", {"epsilons": [0.3], "deltas": [-1.0]}, "not positive"),
        ("gradient_width", {"epsilons": [0.0], "deltas": [1.0]}, "not positive"),
        ("gradient_sign", {"epsilons": [0.3], "features": [5], "levels": [0.0]}, "no entry 5"),
        ("label_robustness", {}, "neither epsilons nor epsilon_factors"),
    ],
)
def test_bad_options_are_one_clear_line(family: str, params: dict, what: str) -> None:
    with pytest.raises(SalverError, match=what):
        made(family, **params)


def test_random_search_finds_a_corner_and_stays_in_the_box() -> None:
    low, high = np.full(4, -1.0), np.full(4, 2.0)
    found = largest(lambda x: x.sum(axis=1), low, high, np.zeros(4), seed=1)
    assert found.value == pytest.approx(8.0)
    assert (found.point >= low).all()
    assert (found.point <= high).all()
    assert found.value == largest(lambda x: x.sum(axis=1), low, high, np.zeros(4), seed=1).value
