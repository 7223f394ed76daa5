"""Every question about every map: the graph gives what the facts define, the clauses ask what is meant."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from salver.core.errors import SalverError
from salver.core.records import parse_record
from salver.explain.explanation import METHODS, Explanation
from salver.explain.gradient import Gradient
from salver.explain.masked_copies import MaskedCopies
from salver.explain.ranking import UndefinedConditionError
from salver.families import conditions
from salver.families.factory import InstanceFactory, Point, PosedQuestion
from salver.families.instance import Facts
from salver.families.other_class import SameMap, SameSigns, SameTopK
from salver.families.question import QUESTIONS, Question
from salver.families.questions import EntryMoves, LabelChanges, SignChanges, TopKChanges
from salver.families.search import Found
from salver.nets.network import evaluate
from salver.nets.torch_bridge import from_torch
from tests.builders.questions import CASES, MAPS, Broken
from tests.builders.views import facts_of


@cache
def factory(seed: int) -> InstanceFactory:
    torch.manual_seed(seed)
    module = nn.Sequential(
        nn.Unflatten(1, (1, 3, 3)), nn.Conv2d(1, 2, 3, 1, 1), nn.ReLU(), nn.Conv2d(2, 3, 3, 1, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3),
    ).eval()  # fmt: skip
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(3.0)
    return InstanceFactory("saliency", from_torch(module, 9), "net", "none", (1, 3, 3), (-1.0, 1.0))


def posed(explanation: Explanation, question: Question) -> PosedQuestion:
    """The first point of some networks at which the question means something."""
    for seed in range(30):
        small, x = factory(seed), np.random.default_rng(seed).uniform(-1, 1, 9).astype(np.float32)
        label = int(small.predict(x[None])[0])
        try:
            found = small.pose(Point(0, x, label), question, explanation.of(label))
            found.prop(small.box(x, 0.1))
        except UndefinedConditionError:
            continue
        if found.reference.any():
            return found
    pytest.fail("no network gives the question a meaning")


def tied_by_rounding(maps: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Of each map [count, n], whether two entries differ, but by no more than rounding does."""
    gaps = np.diff(np.sort(maps, axis=1), axis=1)
    return np.asarray(((gaps > 0) & (gaps < 1e-12)).any(axis=1))


def pairs() -> Iterator[Any]:
    """Every map with every question; the quick part has each map once, and the questions in turn."""
    for number, explanation in enumerate(MAPS):
        name = f"{explanation.method}{'-abs' * explanation.absolute}"
        for turn, (question, broken) in enumerate(CASES):
            marks = [] if number % len(CASES) == turn else [pytest.mark.slow]
            yield pytest.param(explanation, question, broken, marks=marks, id=f"{question.kind}-{name}")


@pytest.mark.parametrize(("explanation", "question", "broken"), [*pairs()])
def test_any_question_about_any_map_asks_what_it_says(
    explanation: Explanation, question: Question, broken: Broken
) -> None:
    asked = posed(explanation, question)
    draft = asked.draft(2.0, Found(0.0))
    x = np.random.default_rng(1).uniform(-1, 1, (400, 9))
    outputs, facts = evaluate(draft.graph, x), draft.facts
    expected = facts.expected_outputs(draft.classifier, x)
    agree = np.abs(outputs - expected).max(axis=1) <= 1e-4
    if isinstance(explanation, MaskedCopies):
        # Copies leave out biases, so ranks of entries that differ by rounding alone are counted either way.
        assert agree.mean() > 0.9
        agree |= tied_by_rounding(facts.map_in(outputs)) | tied_by_rounding(facts.map_in(expected))
    assert agree.mean() > 0.98
    logits, maps = outputs[:, : facts.logits], facts.map_in(outputs)
    wanted = broken(logits, maps, asked.reference, facts.label)
    holds = draft.prop.margin(outputs) >= 0
    assert (holds == wanted).mean() > 0.99
    assert Facts.model_validate_json(facts.model_dump_json()) == facts
    score = asked.question.score(logits, maps, asked.reference, facts.label)
    assert ((score >= asked.question.enough) == wanted).mean() > 0.99


def test_every_method_and_question_is_tried() -> None:
    assert {one.method for one in MAPS} == set(METHODS.known)
    assert {question.kind for question, _ in CASES} == set(QUESTIONS.known)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"explanation": {"method": "cma"}}, "explanation: method 'cma' is not a choice; did you mean cam?"),
        ({"explanation": {"method": "cam", "absolut": True}}, "did you mean absolute?"),
        ({"question": {"kind": "same-map", "dleta": 1.0}}, "did you mean delta?"),
        ({"question": {"delta": 1.0}}, "does not say of which kind it is; add the entry kind"),
        ({"quesiton": {}}, "quesiton: no entry has this name; did you mean question?"),
    ],
)
def test_a_misspelt_fact_is_named_with_what_was_meant(changes: dict[str, object], what: str) -> None:
    stated = facts_of(0, "n").model_dump(mode="json")
    with pytest.raises(SalverError) as caught:
        parse_record(Facts, {**stated, **changes}, "manifest")
    assert what in str(caught.value)


@pytest.mark.parametrize(
    ("question", "what"),
    [
        (TopKChanges(k=0), "k: 0 is not between 1 and 8"),
        (TopKChanges(k=2, stay=3), "choose stay <= k"),
        (TopKChanges(k=3, within=2), "choose within >= k"),
        (TopKChanges(k=3, within=9), "choose within < 9"),
        (TopKChanges(k=3, within=4, stay=1), "choose one of them"),
        (SignChanges(entry=-1), "choose among 0 ... 8"),
    ],
)
def test_a_question_that_does_not_fit_the_map_is_refused(question: Question, what: str) -> None:
    small = factory(0)
    point = Point(0, np.linspace(-1, 1, 9, dtype=np.float32), 0)
    with pytest.raises(SalverError) as caught:
        small.pose(point, question, Gradient())
    assert what in str(caught.value)


def test_an_entry_that_is_0_has_no_sign_to_lose() -> None:
    with pytest.raises(UndefinedConditionError, match="entry 1 of the map is 0, which has no sign"):
        SignChanges(entry=1).at(np.array([2.0, 0.0]), 0, 3)


@pytest.mark.parametrize("question", [SameMap(delta=0.1), SameSigns(), SameTopK(k=1), LabelChanges()])
def test_a_network_with_one_output_has_no_other_class(question: Question) -> None:
    """As a regression has; a question about its map alone is one all the same."""
    torch.manual_seed(1)
    network = from_torch(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)), 2)
    single = InstanceFactory("saliency", network, "net", "none", (2,), (-1.0, 1.0))
    point = Point(0, np.array([0.3, -0.2], np.float32), 0)
    with pytest.raises(SalverError, match="one output has no other class"):
        single.pose(point, question, Gradient()).draft(0.1, Found(0.0))
    assert single.pose(point, TopKChanges(k=1), Gradient()).radius(1.0, 0) > 0


def test_a_radius_is_that_of_a_violation() -> None:
    """The score of such a question is the map's movement itself, which is never below 0."""
    asked = posed(Gradient(), EntryMoves(delta=0.3))
    star = asked.radius(1.0, 0)
    assert asked.extreme(0.8 * star, 0).value < 0.3 <= asked.extreme(1.05 * star, 0).value
    assert asked.asking(delta=1e6).radius(1.0, 0) == np.inf


def test_a_question_about_a_map_needs_one() -> None:
    point = Point(0, np.zeros(9, np.float32), 0)
    with pytest.raises(SalverError, match="none is named"):
        factory(0).pose(point, EntryMoves())


def test_a_move_is_by_the_width_or_more_and_a_box_holds_all_that_is_within() -> None:
    """Limits are rounded to binary32, each to the side where the question stays what it says."""
    reference, width = np.random.default_rng(0).normal(size=40), 0.1
    moved = [atom for (atom,) in conditions.some_entry_moves(2, reference, width)[0]]
    kept = [clause[0][0] for clause in conditions.saliency_box(2, reference, width)]
    for atoms, outwards in ((moved, {"<=": -1, ">=": 1}), (kept, {"<=": 1, ">=": -1})):
        assert len(atoms) == 80
        for atom in atoms:
            side = outwards[atom.relation]
            beyond = side * (atom.constant - (reference[atom.left - 2] + side * width))
            assert 0 <= beyond < 1e-6
            assert np.float32(atom.constant) == atom.constant
