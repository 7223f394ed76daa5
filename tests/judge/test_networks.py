"""Two networks compared at the same points, over what is asked of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
import pytest

from salver.core.errors import SalverError
from salver.explain.gradient import Gradient
from salver.families.instance import Facts, Instance
from salver.families.other_class import SameMap, SameSigns
from salver.families.question import Question
from salver.families.questions import TopKChanges
from salver.judge.compare import LEAST_PAIRS
from salver.judge.networks import compare_networks, question_key
from tests.builders.frames import results
from tests.builders.records import instance


class Asked(NamedTuple):
    """One result on one instance."""

    network: str
    index: int
    outcome: str
    question: Question = SameMap(delta=0.5, targets=(1,))
    solver: str = "a"


def facts_of(one: Asked) -> Facts:
    changes = {"network": one.network, "index": one.index, "question": one.question}
    return instance().facts.model_copy(update=changes)


def compared(asked: Sequence[Asked], solver: str | None = "a"):
    made: dict[str, Instance] = {}
    rows = []
    for one in asked:
        key = f"{one.network}-{one.index}-{one.question.stem}-{one.question.kind}"
        made[key] = instance().model_copy(update={"id": key, "facts": facts_of(one)})
        rows.append({
            "instance_id": key, "network": one.network, "index": one.index, "label": 0, "dataset": "d",
            "epsilon": 0.5, "delta": one.question.tolerance, "outcome": one.outcome, "solver": one.solver,
        })  # fmt: skip
    frame = results(rows)
    return compare_networks(frame.assign(delta=pd.to_numeric(frame["delta"])), made, ("x", "y"), solver)


def each(network: str, outcomes: Sequence[str], **changes) -> list[Asked]:
    return [Asked(network, index, outcome, **changes) for index, outcome in enumerate(outcomes)]


@pytest.mark.parametrize(
    ("points", "before", "after", "verdict"),
    [
        (LEAST_PAIRS - 1, "falsified", "verified", "too few points (10 are needed)"),
        (LEAST_PAIRS, "falsified", "verified", "more robust"),
        (LEAST_PAIRS, "verified", "falsified", "less robust"),
        (LEAST_PAIRS, "timeout", "verified", "more robust"),
        (LEAST_PAIRS, "timeout", "falsified", "less robust"),
        (LEAST_PAIRS, "verified", "verified", "no clear difference"),
    ],
)
def test_the_verdict(points: int, before: str, after: str, verdict: str) -> None:
    (found,) = compared(each("x", [before] * points) + each("y", [after] * points))
    assert (found.verdict, found.pairs, found.points) == (verdict, points, points)
    assert found.verified == (points * (before == "verified"), points * (after == "verified"))


def test_more_of_both_is_no_robustness() -> None:
    (found,) = compared(each("x", ["timeout"] * 20) + each("y", ["verified", "falsified"] * 10))
    assert found.verdict == "decided more often"
    assert found.more_verified.value == found.more_falsified.value == 0.5


def test_only_the_same_question_at_the_same_point_is_a_pair() -> None:
    asked = [
        Asked("x", 0, "verified"),
        Asked("y", 1, "verified"),
        Asked("x", 2, "verified", SameSigns(threshold=0.5, targets=(1,))),
        Asked("y", 2, "verified", SameSigns(threshold=0.1, targets=(1,))),
        Asked("x", 3, "verified", TopKChanges(k=2, inside=(0, 1), size=4)),
        Asked("y", 3, "falsified", TopKChanges(k=2, inside=(2, 3), size=4)),
        Asked("x", 4, "verified", TopKChanges(k=2, inside=(0, 1), size=4)),
        Asked("y", 4, "falsified", TopKChanges(k=3, inside=(0, 1, 2), size=4)),
    ]
    (found,) = compared(asked)
    assert (found.pairs, found.verified, found.falsified) == (1, (1, 0), (0, 1))


def test_tolerances_that_both_have_are_paired_and_others_in_their_order() -> None:
    one, two, three = (SameMap(delta=delta, targets=(1,)) for delta in (1.0, 2.0, 3.0))
    asked = [
        # 2 is asked of both; 1 has no partner.
        Asked("x", 0, "verified", one), Asked("x", 0, "falsified", two), Asked("y", 0, "falsified", two),
        # No tolerance in common: the smaller is paired with the smaller.
        Asked("x", 1, "verified", one), Asked("x", 1, "falsified", three), Asked("y", 1, "verified", two),
    ]  # fmt: skip
    (found,) = compared(asked)
    assert (found.pairs, found.other_delta) == (2, 1)
    assert (found.verified, found.falsified) == ((1, 1), (1, 1))


def test_the_virtual_best_is_last_and_takes_whoever_decides() -> None:
    asked = [
        *(Asked(network, 0, "timeout", solver="a") for network in "xy"),
        *(Asked(network, 0, "verified", solver="b") for network in "xy"),
    ]
    found = compared(asked, None)
    assert [one.solver for one in found] == ["a", "b", "virtual best"]
    assert [one.verified for one in found] == [(0, 0), (1, 1), (1, 1)]


def test_what_is_asked_leaves_out_what_follows_from_the_network() -> None:
    asked = instance().facts.model_copy(update={"explanation": Gradient(logit=0)})
    same = asked.model_copy(update={
        "explanation": Gradient(logit=1), "question": SameMap(delta=9.0, targets=(0,)),
    })  # fmt: skip
    other = asked.model_copy(update={"explanation": Gradient(logit=0, absolute=True)})
    assert question_key(asked) == question_key(same) != question_key(other)


@pytest.mark.parametrize(
    ("solver", "line"),
    [
        ("b", "--solver: the run has no solver 'b'; choose one of a, virtual best"),
        (None, "--networks: x and y were asked nothing in common at one point"),
    ],
)
def test_nothing_to_compare(solver: str | None, line: str) -> None:
    with pytest.raises(SalverError) as raised:
        compared([Asked("x", 0, "verified"), Asked("y", 1, "verified")], solver)
    assert str(raised.value).startswith(line)


def test_instances_without_facts_are_in_no_pair() -> None:
    frame = results([{"network": "x", "instance_id": "1"}, {"network": "y", "instance_id": "2"}])
    with pytest.raises(SalverError, match="nothing in common"):
        compare_networks(frame, {}, ("x", "y"))
