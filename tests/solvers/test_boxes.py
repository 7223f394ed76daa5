"""Products of two variables by boxes, against the extremes of quadratics; ranges against points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salver.nets.affine import UnsupportedQueryError
from salver.nets.network import Network, evaluate, extend_ranges
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.operators import Abs, Add, Concat, Linear, Mul, Node, Relu, Sign, Sub
from salver.solvers.__main__ import solved
from salver.solvers.boxes import MOST_INPUTS, decides, search
from salver.solvers.query import Budget, Options, Query, Verdict
from salver.solvers.registry import SOLVERS
from salver.spec import Atom, Property


def asked(folder: Path, network: Network, low: list[float], high: list[float], *atoms: Atom) -> Query:
    path = folder / "q.onnx"
    path.write_bytes(to_bytes(to_model(network)))
    box = (np.array(low, float), np.array(high, float))
    return Query(path, network, Property(*box, tuple(((atom,),) for atom in atoms), network.output_size))


def linear(name: str, source: str, weight: np.ndarray, bias: list[float]) -> Node:
    return Node(name, Linear(np.float32(weight), np.float32(bias)), (source,), (len(bias),))


def product(first: tuple[float, float], second: tuple[float, float]) -> Network:
    """(a x + b) (c x + d); the square of the first where both are equal."""
    nodes = [linear(n, "X", [[a]], [b]) for n, (a, b) in (("f", first), ("g", second))]
    factors = ("f", "f") if first == second else ("f", "g")
    return Network("X", 1, (*nodes, Node("y", Mul(), factors, (1,))), "y")


numbers = st.sampled_from([-2.0, -1.5, -0.5, 0.25, 1.0, 3.0])


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(a=numbers, b=numbers, c=numbers, d=numbers, square=st.booleans(), side=st.sampled_from(["<=", ">="]))
def test_quadratics_are_decided(a, b, c, d, square, side, tmp_path_factory):
    first, second = (a, b), (a, b) if square else (c, d)
    ends = [-1.5, 2.0]
    turn = -(first[0] * second[1] + first[1] * second[0]) / (2 * first[0] * second[0])
    points = [*ends, *([turn] if ends[0] < turn < ends[1] else [])]
    values = [(first[0] * x + first[1]) * (second[0] * x + second[1]) for x in points]
    extreme = max(values) if side == ">=" else min(values)
    away = 1.0 if side == ">=" else -1.0
    folder = tmp_path_factory.mktemp("boxes")
    for step, verdict in ((-0.01, Verdict.SAT), (0.01, Verdict.UNSAT)):
        atom = Atom(0, side, constant=float(np.float32(extreme + away * step)))
        query = asked(folder, product(first, second), ends[:1], ends[1:], atom)
        found = search(query, Budget(20.0), 0)
        assert found.verdict is verdict
        assert (found.witness is not None) == (verdict is Verdict.SAT)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_ranges_hold_every_point(seed):
    draw = np.random.default_rng(seed)
    shape = (3,)
    nodes = (
        linear("l", "X", draw.normal(size=(3, 2)), list(draw.normal(size=3))),
        Node("r", Relu(), ("l",), shape),
        Node("s", Sign(), ("l",), shape),
        Node("q", Mul(), ("l", "l"), shape),
        Node("p", Mul(), ("q", "s"), shape),
        Node("d", Sub(), ("p", "r"), shape),
        Node("a", Abs(), ("d",), shape),
        Node("u", Add(), ("a", "l"), shape),
        Node("y", Concat(), ("u", "d", "q"), (9,)),
    )
    network = Network("X", 2, nodes, "y")
    low = draw.normal(size=2)
    high = low + draw.random(2) * draw.choice([0.0, 0.1, 3.0])
    ranges = {"X": (low, high)}
    extend_ranges(ranges, nodes, network.shapes)
    values = evaluate(network, draw.uniform(low, high, (200, 2)))
    assert (values >= ranges["y"][0]).all()
    assert (values <= ranges["y"][1]).all()


def test_many_inputs_are_not_for_boxes(tmp_path):
    wide = MOST_INPUTS + 1
    square = Network("X", wide, (Node("y", Mul(), ("X", "X"), (wide,)),), "y")
    below = Atom(0, "<=", constant=-1.0)
    few = asked(tmp_path, square, [-1.0] * wide, [1.0] * MOST_INPUTS + [-1.0], below)
    assert solved(SOLVERS["milp"], few, Budget(20.0), Options()).verdict is Verdict.UNSAT
    many = asked(tmp_path, square, [-1.0] * wide, [1.0] * wide, below)
    assert decides(few)
    assert not decides(many)
    with pytest.raises(UnsupportedQueryError, match="product"):
        solved(SOLVERS["milp"], many, Budget(20.0), Options())
    assert solved(SOLVERS["falsify"], few, Budget(20.0), Options()).verdict is Verdict.UNKNOWN


def test_no_time_is_no_answer(tmp_path):
    query = asked(tmp_path, product((1.0, 0.0), (1.0, 0.0)), [-1.0], [1.0], Atom(0, "<=", constant=-1.0))
    assert search(query, Budget(0.0), 0).verdict is Verdict.TIMED_OUT


@pytest.mark.parametrize("power", [-40, -20, 20, 40])
@pytest.mark.parametrize(("step", "verdict"), [(-0.01, Verdict.SAT), (0.01, Verdict.UNSAT)])
def test_the_scale_of_inputs_and_outputs_does_not_matter(
    power: int, step: float, verdict: Verdict, tmp_path: Path
) -> None:
    unit = 2.0**power
    network = product((1.0, -0.5 * unit), (1.0, 1.0 * unit))
    extreme = max((x - 0.5) * (x + 1.0) for x in (-1.5, 2.0))
    atom = Atom(0, ">=", constant=float(np.float32(extreme + step)) * unit * unit)
    query = asked(tmp_path, network, [-1.5 * unit], [2.0 * unit], atom)
    assert decides(query)
    assert search(query, Budget(20.0), 0).verdict is verdict
