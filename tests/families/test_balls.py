"""Families over Euclidean balls: what an instance states, what its answer rests on, and bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from salver.core.errors import SalverError
from salver.families.generate import drafts, generate
from salver.families.suite import Suite
from salver.publish.validate import validate
from salver.report.words import asked
from salver.spec import ball_around
from salver.spec.truth import Truth

TOP_1 = {"question": {"kind": "top-k-changes", "k": 1}, "map": {"method": "gradient", "absolute": True}}
FAMILIES: list[tuple[str, dict[str, object]]] = [
    ("saliency", {**TOP_1, "epsilons": [0.3]}),
    ("saliency", {"question": {"kind": "label-changes"}, "epsilon_factors": [1.0], "most": 2.0}),
    ("vg_box", {"epsilons": [0.9], "delta_factors": [1.1]}),
    ("topk_rank", {"k": 1, "epsilons": [0.4], "min_open": 0}),
    ("gradient_width", {"epsilons": [0.4], "deltas": [0.1]}),
    ("gradient_sign", {"epsilons": [0.4], "levels": [0.0], "count": 1}),
    ("label_robustness", {"epsilon_factors": [1.0], "most": 2.0}),
]


def suite(*families: tuple[str, dict[str, object]]) -> Suite:
    entries = tuple(
        {"generator": name, "params": {"network": "bandit-6x6", "points": 2, "norm": "l2", **params}}
        for name, params in families
    )
    return Suite(key="t", title="t", timeout=5, family=entries)


@pytest.mark.slow
@pytest.mark.parametrize(("family", "params"), FAMILIES)
def test_an_instance_states_the_ball_around_its_point(family: str, params: dict[str, object]) -> None:
    found = list(drafts(suite((family, params))))
    assert found
    for draft in found:
        ball, facts = draft.prop.ball, draft.facts
        assert ball is not None
        assert facts.norm == "l2"
        assert draft.name.endswith("-l2")
        assert ball.same(ball_around(ball.centre.astype(np.float32), facts.epsilon))
        assert (draft.prop.input_lower >= ball.centre - facts.epsilon * (1 + 1e-6)).all()
        assert (draft.prop.input_lower <= ball.centre).all()
        assert (ball.centre <= draft.prop.input_upper).all()
        assert "in the Euclidean norm and inside [0, 1]" in asked(facts)


@pytest.mark.slow
def test_a_sampled_radius_is_one_with_a_counterexample() -> None:
    found = list(drafts(suite(FAMILIES[1], FAMILIES[-1])))
    assert {draft.facts.expected for draft in found} == {Truth.SAT}


@pytest.mark.slow
def test_a_set_over_balls_is_written_and_checked(tmp_path: Path) -> None:
    folder, made = generate(suite(FAMILIES[0], FAMILIES[3]), tmp_path)
    assert len(made.instances) == 4
    assert validate(folder) == (made, [])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"norm": "L2"}, "did you mean l2"),
        ({"norm": "euclid"}, "choose linf or l2"),
        ({"enumerate": True}, "enumerated over boxes only"),
        ({"epsilons": [0.0]}, "epsilon 0 is not positive"),
        ({"epsilons": [1e30]}, "no square in single precision"),
    ],
)
def test_what_is_no_ball_is_refused(params: dict[str, object], message: str) -> None:
    with pytest.raises(SalverError) as caught:
        list(drafts(suite(("saliency", {**TOP_1, "epsilons": [0.1], **params}))))
    assert message in str(caught.value)
