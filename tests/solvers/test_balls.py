"""Solvers over balls, held against distances known from geometry, and against the box around the ball."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from salver.nets.network import Network, lower
from salver.nets.onnx.reader import read_onnx
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.operators import Linear, Node
from salver.nets.program import Program
from salver.oracle.enumerate import enumerate_query
from salver.solvers.bounding.halfspaces import Halfspaces, lower_bounds
from salver.solvers.bounding.propagation import propagate
from salver.solvers.hybrid.solver import solve as hybrid
from salver.solvers.query import Budget, Options, Query, Result, Verdict
from salver.solvers.registry import embedded_solver
from salver.spec import Atom, Ball, Property, ball_around
from tests.builders.balls import plane_query
from tests.builders.small_network import classifier

SEARCH = Options(without=frozenset({"attack"}))
"""Without the attack, so that the search itself finds witnesses."""


def program_of(folder: Path, inputs: int, seed: int) -> Program:
    return lower(read_onnx(classifier(folder / f"net-{seed}.onnx", inputs, seed)))


def asserted(query: Query, found: Result) -> Verdict:
    """The verdict, of which a witness must lie in the ball exactly and hold in ONNX Runtime."""
    if found.verdict is Verdict.SAT:
        assert found.witness is not None
        assert query.prop.inputs_inside(found.witness)
        assert query.prop.outputs_satisfied(query.replay(found.witness))
    return found.verdict


@pytest.mark.slow
def test_the_search_knows_both_sides_of_the_smallest_radius(tmp_path: Path) -> None:
    met = set()
    for seed in range(6):
        plane = plane_query(tmp_path, seed)
        for share in (0.5, 0.99, 1.01, 2.0):
            query = plane.within(share * (plane.nearest if 0 < plane.nearest < np.inf else 1.0))
            radius = query.prop.ball.radius
            expected = Verdict.SAT if radius > plane.certain else Verdict.UNSAT
            assert not plane.nearest < radius <= plane.certain
            assert asserted(query, hybrid(query, Budget(20.0), SEARCH)) is expected
            met.add((share, expected))
    assert {(0.99, Verdict.UNSAT), (1.01, Verdict.SAT), (2.0, Verdict.UNSAT)} <= met


@pytest.mark.parametrize("square", [0.0, 1e-320, 1e-60])
def test_of_a_ball_that_is_a_point_beside_the_box_no_infinity_is_handed_on(
    tmp_path: Path, square: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """On infinite costs HiGHS writes beyond its memory, which ends the process. The centre is a solution."""
    plane = plane_query(tmp_path, 0)
    logits = plane.query.program.evaluate(plane.centre[None])[0][0]
    touched = tuple(
        ((Atom(k, relation, constant=float(logits[k])),),) for k, relation in ((0, "<="), (1, ">="))
    )
    asked = replace(plane.query.prop, clauses=touched, ball=Ball(plane.centre, square))
    for name, options in (("hybrid", SEARCH), ("milp", Options())):
        found = embedded_solver(name).load()(plane.query.asking(asked), Budget(2.0), options)
        assert found.verdict is not Verdict.UNSAT
    assert "back end: " not in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["crown", "milp", "marabou"])
def test_other_solvers_are_never_wrong(tmp_path: Path, name: str) -> None:
    solve = embedded_solver(name).load()
    for seed in (0, 3):
        plane = plane_query(tmp_path, seed)
        for share in (0.9, 1.1):
            query = plane.within(share * (plane.nearest if 0 < plane.nearest < np.inf else 1.0))
            wrong = Verdict.UNSAT if query.prop.ball.radius > plane.certain else Verdict.SAT
            assert asserted(query, solve(query, Budget(2.0), Options())) is not wrong


@pytest.mark.slow
def test_no_solution_in_the_box_is_none_in_the_ball_and_a_solution_in_the_ball_is_one_in_the_box(
    tmp_path: Path,
) -> None:
    for seed in range(4):
        plane = plane_query(tmp_path, seed)
        query = plane.within(0.4)
        reach = np.array([0.4, 0.4])
        low = np.maximum(query.prop.input_lower, plane.centre - 1.001 * reach)
        high = np.minimum(query.prop.input_upper, plane.centre + 1.001 * reach)
        box = query.asking(replace(query.prop, input_lower=low, input_upper=high, ball=None))
        in_ball, in_box = (hybrid(one, Budget(20.0), Options()).verdict for one in (query, box))
        assert (in_ball, in_box) != (Verdict.SAT, Verdict.UNSAT)


def test_a_witness_may_lie_on_the_sphere_alone(tmp_path: Path) -> None:
    """The ball around 0 of radius 0.75 touches x_0 >= 0.75."""
    query = touching(tmp_path, 0.75**2)
    found = hybrid(query, Budget(10.0), Options())
    assert asserted(query, found) is Verdict.SAT
    assert found.witness.tolist() == [0.75, 0.0]
    smaller = touching(tmp_path, 0.75**2 * (1 - 1e-6))
    assert hybrid(smaller, Budget(10.0), Options()).verdict is Verdict.UNSAT


def touching(folder: Path, square: float) -> Query:
    row = Linear(np.array([[1.0, 0.0]], np.float32), np.array([-0.75], np.float32))
    network = Network("X", 2, (Node("Y", row, ("X",), (1,)),), "Y")
    path = folder / "touching.onnx"
    path.write_bytes(to_bytes(to_model(network)))
    clauses = (((Atom(0, ">="),),),)
    return Query(path, network, Property(-np.ones(2), np.ones(2), clauses, 1, Ball(np.zeros(2), square)))


@pytest.mark.parametrize("seed", range(4))
def test_bounds_hold_in_the_ball_and_are_no_wider_than_those_of_the_box(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    program, x = program_of(tmp_path, 6, seed), rng.normal(size=6).astype(np.float32)
    ball = ball_around(x, 0.5)
    low, high = x - 0.5, np.where(rng.random(6) < 0.3, x, x + 0.5)
    bounds = propagate(program, low, high, ball=ball)
    box = propagate(program, low, high)
    points = ball.projected(ball.uniform(2000, rng), low, high)
    outputs, pre, _ = program.evaluate(points)
    assert (outputs >= bounds.output_lower).all()
    assert (outputs <= bounds.output_upper).all()
    assert (pre[0] >= bounds.pre_lower[0]).all()
    assert (pre[0] <= bounds.pre_upper[0]).all()
    assert (bounds.pre_lower[0] >= box.pre_lower[0]).all()
    assert (bounds.pre_upper[0] - bounds.pre_lower[0]).sum() < 0.9 * (
        box.pre_upper[0] - box.pre_lower[0]
    ).sum()


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_bounds_scale_with_the_ball(tmp_path: Path, scale: float) -> None:
    """Rows over halfspaces of a ball: the same question in other units has the same answer."""
    rng = np.random.default_rng(5)
    centre = rng.normal(size=4).astype(np.float32).astype(np.float64)
    rows, cuts = rng.normal(size=(3, 4)), rng.normal(size=(2, 4))
    found = []
    for unit in (1.0, scale):
        ball = Ball(centre * unit, (0.5 * unit) ** 2)
        spaces = Halfspaces(cuts, -cuts @ centre * unit + 0.1 * unit)
        box = (ball.centre - 0.5 * unit, ball.centre + 0.5 * unit)
        found.append(lower_bounds(rows, np.zeros(3), spaces, *box, ball=ball) / unit)
    assert np.allclose(found[0], found[1], rtol=1e-6, atol=1e-9)
    points = Ball(centre, 0.25).uniform(4000, rng)
    kept = points[(points @ cuts.T - cuts @ centre + 0.1 >= 0).all(axis=1)]
    assert len(kept) > 100
    assert ((rows @ kept.T).min(axis=1) >= found[0]).all()


def test_the_oracle_of_boxes_takes_no_balls(tmp_path: Path) -> None:
    query = touching(tmp_path, 0.5)
    with pytest.raises(ValueError, match="over boxes only"):
        enumerate_query(query.network, query.prop)
