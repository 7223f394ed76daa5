"""Saliency questions on the networks and boxes of a benchmark, here of one made for the test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from salver.core.errors import SalverError
from salver.families.boxes import boxed_networks
from salver.families.generate import drafts
from salver.families.generator import InstanceDraft
from salver.nets.network import evaluate
from salver.nets.onnx.reader import read_onnx
from salver.report.words import asked
from salver.spec.plain import input_box
from salver.spec.terms import parse_term_query
from tests.builders.small_network import classifier
from tests.builders.suites import suite

DECLARED = "".join(f"(declare-const {name} Real)" for name in ("X_0", "X_1", "X_2", "Y_0", "Y_1"))
BOX = DECLARED + "".join(
    f"(assert (>= X_{i} {low}))(assert (<= X_{i} {high}))"
    for i, (low, high) in enumerate([(-0.5, 0.3), (0.1, 0.1), (0.0, 1.0)])
)
TOPK = {"kind": "top-k-changes", "k": 1, "same_label": False}


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    """Two queries with one box, one with a box inside a disjunction, and one over two networks."""
    folder = tmp_path / "bench"
    for name in ("onnx", "vnnlib"):
        (folder / name).mkdir(parents=True)
    classifier(folder / "onnx" / "net.onnx", inputs=3, seed=1)
    (folder / "vnnlib" / "a.vnnlib").write_text(BOX + "(assert (<= Y_0 Y_1))")
    (folder / "vnnlib" / "b.vnnlib").write_text(BOX + "(assert (> Y_0 (* 2 Y_1)))")
    wide = "(assert (or (and (<= X_0 0.1) (>= X_2 0.5)) (and (<= X_0 0.2) (>= X_2 0.25) (<= Y_0 1))))"
    (folder / "vnnlib" / "c.vnnlib").write_text(BOX + wide)
    rows = [f"onnx/net.onnx,vnnlib/{name}.vnnlib,5" for name in "abc"]
    rows.append("[('f','onnx/net.onnx'),('g','onnx/net.onnx')],vnnlib/a.vnnlib,5")
    (folder / "instances.csv").write_text("\n".join(rows))
    return folder


def lifted(folder: Path, **params: object) -> list[InstanceDraft]:
    given = {"benchmark": f"{folder}/", "map": {"method": "gradient"}, "question": TOPK, **params}
    return list(drafts(suite("lifted", given)))


def test_a_box_is_asked_about_its_middle(bench):
    whole, small = lifted(bench, factors=[1.0, 0.5])
    low, high = np.array([-0.5, 0.1, 0.0]), np.array([0.3, 0.1, 1.0])
    assert (whole.prop.input_lower <= low).all()
    assert np.allclose(whole.prop.input_lower, low)
    assert np.allclose(whole.prop.input_upper, high)
    middle = (low + high) / 2
    assert np.allclose(small.prop.input_lower, middle - (high - low) / 4)
    assert (small.prop.input_lower.astype(np.float32) == small.prop.input_lower).all()
    logits = evaluate(read_onnx(bench / "onnx" / "net.onnx"), middle[None])[0]
    facts = small.facts
    assert (facts.label, facts.explanation.logit) == (logits.argmax(), logits.argmax())
    assert (facts.epsilon, facts.clip, facts.dataset, facts.input_shape) == (0.25, None, "bench", (3,))
    assert asked(facts).startswith("Is there an input x in the box of a, scaled by 0.5 around xhat, of which")


def test_queries_of_one_box_are_one_and_choices_have_a_hull(bench):
    (network,) = boxed_networks(bench)
    first, second = network.boxes(9)
    assert (first.query.name, second.query.name) == ("a.vnnlib", "c.vnnlib")
    assert np.allclose(second.low, [-0.5, 0.1, 0.25])
    assert np.allclose(second.high, [0.2, 0.1, 1.0])
    assert len(lifted(bench, boxes=9)) == 2
    assert len(lifted(bench, boxes=9, only=["net/c"])) == 1


def test_tolerances_are_shares_of_the_map(bench):
    found = lifted(bench, question={"kind": "same-map"}, delta_shares=[0.1, 0.5], enumerate=True)
    share = [draft.facts.vacuity.delta_over_saliency for draft in found]
    assert np.allclose(share, [0.1, 0.5], rtol=0.01)
    assert all(draft.facts.evidence == "enumerated" for draft in found)


def test_a_point_of_ones_own_is_xhat(bench, tmp_path):
    np.save(tmp_path / "x.npy", np.array([0.25, 0.1, 0.9], np.float32))
    (draft,) = lifted(bench, point=str(tmp_path / "x.npy"), factors=[0.1])
    assert np.allclose(draft.facts.xhat, [0.25, 0.1, 0.9])
    assert np.allclose(draft.prop.input_upper, [0.255, 0.1, 0.91])
    np.save(tmp_path / "x.npy", np.zeros(3))
    with pytest.raises(SalverError, match=r"is no point of the box of a\.vnnlib"):
        lifted(bench, point=str(tmp_path / "x.npy"))


@pytest.mark.parametrize(
    ("params", "what"),
    [
        ({"only": ["other/*"]}, "no query of it fits other"),
        ({"delta_shares": [0.1]}, "top-k-changes has no tolerance"),
        ({"factors": [0.0]}, "factors"),
        ({"benchmark": "nowhere/at/all"}, "is no folder"),
        ({"benchmark": "nowhere"}, "no benchmark 'nowhere'"),
        ({"point": "gone.npy"}, "gone.npy: cannot be read"),
        ({"question": {"kind": "top-k-changes", "k": 3}}, "k"),
    ],
)
def test_what_cannot_be_lifted_is_one_line(bench, params, what):
    with pytest.raises(SalverError) as caught:
        lifted(bench, **params)
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("(assert (>= X_0 1))", "has no bound"),
        ("(assert (and (>= X_0 0.5) (<= X_0 0.4)))" + BOX.removeprefix(DECLARED), "empty box"),
    ],
)
def test_a_query_without_a_box_is_refused(text, what):
    with pytest.raises(SalverError, match=what):
        input_box(parse_term_query(DECLARED + text), "q")
