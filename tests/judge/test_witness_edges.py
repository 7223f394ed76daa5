"""Witnesses at the edges of single precision and at kinks, and the second opinion for every family."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from salver.explain.gradient import Gradient
from salver.explain.unroll import logit_combination, unroll
from salver.families.generate import drafts
from salver.families.registry import generators
from salver.judge.judgement import WitnessVerdict
from salver.judge.witness import (
    MalformedWitness,
    original_gradient,
    parse_witness,
    replay,
    second_opinion,
)
from salver.nets.network import Network
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.operators import Linear, Mul, Node, Sub
from salver.spec import Atom, Property
from tests.builders.suites import SMALL, suite
from tests.builders.witnesses import classifier, flat, instance, of_network, saved

CORRECT, INVALID, MALFORMED = WitnessVerdict.CORRECT, WitnessVerdict.INVALID, WitnessVerdict.MALFORMED
TOLERATED = WitnessVerdict.UP_TO_TOLERANCE
TENTH = float(np.float32(0.1))
ABOVE = float(np.nextafter(np.float32(0.1), np.float32(1)))


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    """X [1] -> Y = X."""
    layer = Linear(np.ones((1, 1), np.float32), np.zeros(1, np.float32))
    return saved(Network("X", 1, (Node("Y", layer, ("X",), (1,)),), "Y"), tmp_path / "identity.onnx")


@pytest.mark.parametrize("form", ["((X_0 {}))", "X float32 [1,1]\n{}"])
@pytest.mark.parametrize(
    ("low", "high", "token", "verdict"),
    [
        (0.0, TENTH, "0.1", CORRECT),
        (0.0, TENTH, "0.100000001490116119384765625", CORRECT),
        (0.0, TENTH, repr((TENTH + ABOVE) / 2 - 1e-16), CORRECT),
        (0.0, TENTH, repr((TENTH + ABOVE) / 2 + 1e-16), TOLERATED),
        (0.0, TENTH, repr(ABOVE), TOLERATED),
        (ABOVE, 1.0, "0.1", TOLERATED),
        (0.0, 1.0, "-0.0", CORRECT),
        (-0.0, -0.0, "0", CORRECT),
        (0.0, 0.0, "1e-46", CORRECT),
        (0.0, 0.0, "1e-45", TOLERATED),
        (2.0**-149, 1.0, "1.4e-45", CORRECT),
        (0.0, 1.0, "1e-999", CORRECT),
        (0.0, 1.0, "1e39", INVALID),
        (0.0, float(np.finfo(np.float32).max), "3.4028235e38", CORRECT),
        (0.0, float(np.finfo(np.float32).max), "3.4028236e38", INVALID),
        (0.0, 1.0, "1e999", MALFORMED),
        (0.0, 1.0, "inf", MALFORMED),
        (0.0, 1.0, "nan", MALFORMED),
        (0.0, 1.0, "0x1p-1", MALFORMED),
        (0.0, 1.0, "0,5", MALFORMED),
        (0.0, 1.0, "\u0660.5", MALFORMED),
        (0.0, 1.0, "1/2", MALFORMED),
        (0.0, 1.0, "+.5e0", CORRECT),
        (0.0, 1.0, "0." + "3" * 1000, CORRECT),
        (0.0, 1.0, "0." + "3" * 3000, MALFORMED),
    ],
)
def test_a_number_is_rounded_once_and_then_compared(
    identity: Path, form: str, low: float, high: float, token: str, verdict: WitnessVerdict
) -> None:
    box = Property(np.array([low]), np.array([high]), (), 1)
    assert replay(identity, box, form.format(token)).verdict is verdict


@pytest.mark.parametrize(
    "text",
    [
        "X float32 [" + "9" * 5000 + "]\n1",
        "X float32 [1,\u0661]\n1",
        "X float32 [0]\n",
        "X float32 [1 2]\n1",
        "((X_\u0660 1))",
        "((X_0 1)) trailing",
        "((X_0 (X_0 1)))",
        "((X_0 1)(X_0 1))",
        "\0((X_0 1))",
        "unsat\n((X_0 1))",
        "X float32 [1,1]\n1\nX_0 2",
    ],
)
def test_malformed_in_other_ways(text: str) -> None:
    with pytest.raises(MalformedWitness) as caught:
        parse_witness(text, 1)
    assert len(str(caught.value)) < 200


def test_outputs_that_are_no_numbers_satisfy_nothing(tmp_path: Path) -> None:
    big = np.full((1, 1), 1e30, np.float32)
    nodes = (
        Node("a", Linear(big, np.zeros(1, np.float32)), ("X",), (1,)),
        Node("b", Mul(), ("a", "a"), (1,)),
        Node("Y", Sub(), ("b", "b"), (1,)),
    )
    path = saved(Network("X", 1, nodes, "Y"), tmp_path / "nan.onnx")

    for relation in ("<=", ">="):
        asked = Property(np.zeros(1), np.ones(1), (((Atom(0, relation, constant=0.0),),),), 1)  # type: ignore[arg-type]
        assert replay(path, asked, "((X_0 1) (Y_0 0))").verdict is INVALID


@pytest.mark.parametrize("kind", ["raw", "abs"])
@pytest.mark.parametrize("x", [(0.0, 0.0), (0.5, 0.5), (0.5, 0.0), (-0.0, 0.0)])
def test_at_z_equal_zero_both_opinions_take_the_derivative_zero(
    tmp_path: Path, kind: str, x: tuple[float, float]
) -> None:
    network = saved(classifier(), tmp_path / "c.onnx")
    graph = saved(unroll(classifier(), logit_combination(2, 0), kind), tmp_path / "g.onnx")  # type: ignore[arg-type]
    free = Property(np.zeros(2), np.ones(2), (), 4)
    one = of_network(network, instance(Gradient(absolute=kind == "abs")))
    found = second_opinion(replay(graph, free, flat(*x)), one)
    assert (found.verdict, found.gradient) == (CORRECT, "agrees")
    z = (x[0] - x[1], x[1])
    first = 2.0 * (z[0] > 0)
    expected = [first, -first - (z[1] > 0)]
    assert found.outputs[2:] == tuple(map(abs, expected) if kind == "abs" else expected)


WITHOUT = {"label_robustness": "no saliency to look at"}
WITH_DATA = {"lifted", "vg_paper"}
"""Families whose small parameters name the user's data."""


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(generators()))
def test_the_second_opinion_covers_every_family(
    tmp_path: Path, name: str, data_dir_or_none: Path | None
) -> None:
    if name in WITH_DATA and data_dir_or_none is None:
        pytest.skip("no data folder: set SALVER_DATA")
    made = drafts(suite(name, SMALL[name][0]), data_dir_or_none)
    draft = next(one for one in made if one.facts.saliencies or name in WITHOUT)
    graph, original = tmp_path / "g.onnx", tmp_path / "c.onnx"
    graph.write_bytes(to_bytes(to_model(draft.graph)))
    original.write_bytes(to_bytes(to_model(draft.classifier)))
    free = replace(draft.prop, clauses=())
    rng = np.random.default_rng(0)
    one = of_network(original, instance().model_copy(update={"facts": draft.facts}))
    for x in (free.input_lower, rng.uniform(free.input_lower, free.input_upper)):
        point = np.clip(np.asarray(x, np.float32).astype(float), free.input_lower, free.input_upper)
        found = second_opinion(replay(graph, free, flat(*point.tolist())), one)
        assert found.verdict is CORRECT, found.detail
        assert found.gradient == ("none" if name in WITHOUT else "agrees"), found.detail
        if name not in WITHOUT:
            outputs = np.array(found.outputs)
            outputs[draft.facts.logits] += 0.5 * max(1.0, np.abs(outputs).max())
            assert original_gradient(draft.classifier, draft.facts, found.point, outputs) == "differs"
