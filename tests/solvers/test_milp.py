"""The MILP against the oracle, and the cases that break relaxations of the mask."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from salver.core.errors import SalverError
from salver.nets.network import Network
from salver.nets.operators import Linear, Node, Relu
from salver.oracle.enumerate import enumerate_query
from salver.solvers.bounding.propagation import propagate
from salver.solvers.milp.model import build, slack_rows
from salver.solvers.milp.solver import solve, solve_within
from salver.solvers.query import Budget, Options, Query, Verdict
from salver.spec.property import Atom, Property, Relation, box_clauses
from tests.builders.small_queries import bandit_query, random_query, saliency_query, toy_gap

QUICK = (0, 1, 2, 3, 6, 8, 9, 10, 11, 14, 16, 17, 18, 19, 20, 21, 22, 23)
"""Seeds whose networks have at most some 30 activation regions."""
BACKENDS = ("highs", "scip")


def _verdict(query: Query, backend: str) -> Verdict:
    result = solve(query, Budget(60.0), Options(backend=backend))
    if result.verdict is Verdict.SAT:
        assert result.witness is not None
        assert query.confirm(result.witness) is not None
    return result.verdict


@pytest.mark.slow
def test_agrees_with_the_oracle(tmp_path: Path) -> None:
    seen = set()
    for seed in QUICK:
        query = random_query(tmp_path, seed)
        answer = enumerate_query(query.network, query.prop)
        for backend in BACKENDS:
            verdict = _verdict(query, backend)
            if answer.clear:
                assert verdict.value == answer.truth.value, f"seed {seed}, {backend}"
            seen.add(verdict)
    assert seen >= {Verdict.SAT, Verdict.UNSAT}


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradient_of_one_relu_takes_no_value_in_between(tmp_path: Path, backend: str) -> None:
    assert _verdict(toy_gap(tmp_path), backend) is Verdict.UNSAT
    assert _verdict(toy_gap(tmp_path, 0.4, 1.0), backend) is Verdict.SAT


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_solution_at_zero_only_is_unknown(tmp_path: Path, backend: str) -> None:
    """At z = 0 the closed mask may be 1 while the network's is 0; no proof follows from either."""
    query = toy_gap(tmp_path, 1.0, 1.0)
    at_zero = Property(-np.ones(1), np.zeros(1), query.prop.clauses, 2)
    result = solve(Query(query.onnx, query.network, at_zero), Budget(30.0), Options(backend=backend))
    assert result.verdict in (Verdict.UNKNOWN, Verdict.UNSAT)
    above_zero = Property(np.zeros(1), np.ones(1), query.prop.clauses, 2)
    assert _verdict(Query(query.onnx, query.network, above_zero), backend) is Verdict.SAT


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_witnesses_keep_away_from_zero(data_dir: Path, tmp_path: Path, backend: str) -> None:
    """Vertices of the program have some z = 0, where an autograd in another precision sees another map."""
    queries = [
        toy_gap(tmp_path, 0.4, 1.0),
        *(bandit_query(data_dir, tmp_path, d) for d in (1.25, 1.5, 2.0, 2.5)),
    ]
    for query in queries:
        result = solve(query, Budget(30.0), Options(backend=backend))
        assert result.witness is not None
        assert not query.on_kink(result.witness)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("delta", "verdict"),
    [
        (0.5, "unsat"),
        (0.75, "unsat"),
        (1, "unsat"),
        (1.16, "unsat"),
        (1.17, "sat"),
        (1.25, "sat"),
        (1.5, "sat"),
    ],
)
def test_bandit(data_dir: Path, tmp_path: Path, backend: str, delta: float, verdict: str) -> None:
    assert _verdict(bandit_query(data_dir, tmp_path, delta), backend).value == verdict


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_branches_of_a_sign_cover_the_query(tmp_path: Path, seed: int) -> None:
    query = random_query(tmp_path, seed)
    low, high = query.prop.input_lower, query.prop.input_upper
    size, verdicts = query.program.pre[0].affine.size, set()
    for sign in (-1, 1):
        fixed = np.zeros(size, np.int8)
        fixed[0] = sign
        bounds = propagate(query.program, low, high, fixed={0: fixed})
        verdicts.add(solve_within(query, bounds, Budget(30.0), Options()).verdict)
    whole = _verdict(query, "highs")
    assert (verdicts == {Verdict.UNSAT}) == (whole is Verdict.UNSAT)


def test_every_evaluated_point_is_a_solution_of_the_program(tmp_path: Path) -> None:
    """The encoding relaxes the network: with x fixed to a sample and its values asked for, it is feasible."""
    from salver.solvers.milp.highs import solve as highs

    for seed in range(8):
        query = random_query(tmp_path, seed)
        low, high = query.prop.input_lower, query.prop.input_upper
        bounds = propagate(query.program, low, high)
        x = np.random.default_rng(seed).uniform(low, high)
        outputs = query.program.evaluate(x)[0][0]
        prop = Property(low, high, box_clauses(0, outputs - 1e-6, outputs + 1e-6), len(outputs))
        model = build(query.program, prop, bounds)
        assert model is not None
        model.lower[: len(x)] = model.upper[: len(x)] = x
        assert highs(model, 30.0, 1, 0)[0] == "feasible"


@pytest.mark.parametrize("seed", range(5))
def test_a_scaled_program_has_the_same_solutions_and_entries_of_size_one(tmp_path: Path, seed: int) -> None:
    query = random_query(tmp_path, seed)
    bounds = propagate(query.program, query.prop.input_lower, query.prop.input_upper)
    model = build(query.program, query.prop, bounds, prune=False)
    assert model is not None
    large = replace(model, matrix=model.matrix * 2.0**30, row_lower=model.row_lower * 2.0**30,
                    row_upper=model.row_upper * 2.0**30)  # fmt: skip
    for program in (model, large):
        scaled, columns = program.scaled()
        assert (np.frexp(columns)[0] == 0.5).all()
        np.testing.assert_array_equal(scaled.lower * columns, program.lower)
        np.testing.assert_array_equal(scaled.upper * columns, program.upper)
        entries, before = scaled.matrix.toarray(), program.matrix.toarray()
        rows = np.divide(entries, before * columns, out=np.ones_like(entries), where=before != 0)
        factors = np.where(before != 0, rows, np.nan)
        assert (np.nanmax(factors, axis=1) == np.nanmin(factors, axis=1)).all()
        largest = np.abs(entries).max(axis=1)
        assert ((largest >= 1) & (largest < 2)).all()
        np.testing.assert_array_equal(scaled.row_lower, program.row_lower * np.nanmax(factors, axis=1))


@pytest.mark.slow
def test_conjunctions_inside_a_disjunction(tmp_path: Path) -> None:
    query = random_query(tmp_path, 2)
    low, high = query.prop.input_lower, query.prop.input_upper
    outputs = query.program.evaluate(np.random.default_rng(0).uniform(low, high, (4000, len(low))))[0]
    first, second = np.quantile(outputs[:, 0], 0.9), np.quantile(outputs[:, 1], 0.1)
    first, second = first - 0.05, second - 0.05
    reachable = (Atom(0, ">=", constant=float(first)), Atom(1, ">=", constant=float(second)))
    never = (Atom(0, ">=", constant=1e3), Atom(1, "<=", constant=0.0))
    for clause in ((reachable, never), (never, never), (never, (Atom(0, ">=", constant=float(first)),))):
        prop = Property(low, high, (clause,), query.prop.output_count)
        asked = Query(query.onnx, query.network, prop)
        assert _verdict(asked, "highs").value == enumerate_query(asked.network, prop).truth.value


def test_a_comparison_is_a_row_wherever_its_clause_stands(tmp_path: Path) -> None:
    """Between disjunctions, and after ones with a single alternative; its row says which atom it is of."""
    query = random_query(tmp_path, 0)
    low, high = query.prop.input_lower, query.prop.input_upper
    bounds = propagate(query.program, low, high)
    either = ((Atom(0, ">=", 1),), (Atom(1, ">=", 0),))
    clauses = (((Atom(0, ">=", 1),),), either, ((Atom(1, "<=", 2), Atom(2, ">=", 0)),), either)
    model = build(query.program, Property(low, high, clauses, query.prop.output_count), bounds, prune=False)
    assert model is not None
    (origin,) = (origin for origin in model.rows_of if origin.kind == "atom")
    assert origin.entries.tolist() == [0, 3, 4]
    atoms = [atom for clause in clauses for part in clause for atom in part]
    for row, atom in enumerate(atoms[number] for number in origin.entries):
        program = build(
            query.program, Property(low, high, (((atom,),),), query.prop.output_count), bounds, prune=False
        )
        assert program is not None
        np.testing.assert_array_equal(
            model.matrix[[origin.first + row]].toarray()[0, : program.matrix.shape[1]],
            program.matrix[[-1]].toarray()[0],
        )


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_point_of_the_one_alternative_that_bounds_leave_solves_the_program(
    tmp_path: Path, place: int
) -> None:
    """No point of the box meets the two others; of each one atom alone may be met."""
    from salver.solvers.milp.highs import solve as highs

    for seed in range(3):
        query = random_query(tmp_path, seed)
        low, high = query.prop.input_lower, query.prop.input_upper
        x = np.random.default_rng(seed).uniform(low, high)
        outputs = query.program.evaluate(x)[0][0]
        least, most = int(outputs.argmin()), int(outputs.argmax())
        pair, limit = Atom(least, "<=", other=most), Atom(most, ">=", constant=float(outputs[most]) - 1e-3)
        far = (Atom(0, "<=", constant=-1e6), Atom(most, "<=", other=least))
        never = [far, (Atom(0, ">=", constant=1e6),)]
        clause = (*never[:place], (limit, pair), *never[place:])
        asked = Property(low, high, (clause,), query.prop.output_count)
        model = build(query.program, asked, propagate(query.program, low, high))
        assert model is not None
        model.lower[: len(x)] = model.upper[: len(x)] = x
        assert highs(model, 30.0, 1, 0)[0] == "feasible"


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_one_alternative_is_enough_and_none_is_not(tmp_path: Path, seed: int) -> None:
    """Bounds leave the others; a point meets one with nothing to spare, wherever it stands, or misses all."""
    from salver.solvers.milp.highs import solve as highs

    query = random_query(tmp_path, seed)
    low, high = query.prop.input_lower, query.prop.input_upper
    bounds = propagate(query.program, low, high)
    x = np.random.default_rng(seed).uniform(low, high)
    outputs = query.program.evaluate(x)[0][0]
    sides = outputs - bounds.output_lower, bounds.output_upper - outputs
    entry = int(np.minimum(*sides).argmax())
    below, above = (0.1 * side[entry] for side in sides)
    assert min(below, above) > 1e-3
    missed = (Atom(entry, "<=", constant=float(outputs[entry] - below)),)
    touched, beyond = (
        (Atom(entry, ">=", constant=float(value)),) for value in (outputs[entry], outputs[entry] + above)
    )
    cases = (
        ((touched,), "feasible"),
        ((beyond,), "infeasible"),
        ((missed, touched), "feasible"),
        ((touched, missed), "feasible"),
        ((missed, beyond), "infeasible"),
    )
    for clause, expected in cases:
        never = (Atom(entry, ">=", constant=1e6),)
        model = build(query.program, Property(low, high, ((*clause, never),), len(outputs)), bounds)
        assert model is not None
        model.lower[: len(x)] = model.upper[: len(x)] = x
        assert highs(model, 30.0, 1, 0)[0] == expected


def test_an_alternative_that_bounds_only_touch_is_left(tmp_path: Path) -> None:
    query = random_query(tmp_path, 0)
    box = query.prop.input_lower, query.prop.input_upper
    bounds = propagate(query.program, *box)
    sides: tuple[tuple[Relation, float, float], ...] = (
        (">=", float(bounds.output_upper[0]), 1e6),
        ("<=", float(bounds.output_lower[0]), -1e6),
    )
    for relation, end, never in sides:
        for limit, left in ((end, True), (float(np.nextafter(end, never)), False)):
            clause = tuple((Atom(0, relation, constant=value),) for value in (limit, never))
            asked = Property(*box, (clause,), query.prop.output_count)
            assert (build(query.program, asked, bounds) is not None) is left


def test_slack_rows_are_the_atoms_slacks(tmp_path: Path) -> None:
    program = random_query(tmp_path, 0).program
    atoms = (Atom(0, ">=", 1), Atom(1, "<=", 0), Atom(0, "<=", constant=0.25), Atom(1, ">=", constant=-2.0))
    outputs, _, values = program.evaluate(np.random.default_rng(0).normal(size=(5, program.input_size)))
    expected = np.column_stack([atom.slack(outputs) for atom in atoms])
    assert slack_rows(program.output, atoms).evaluate(values) == pytest.approx(expected)


def test_out_of_budget_and_unknown_back_end(tmp_path: Path) -> None:
    query = next(q for q in (random_query(tmp_path, s) for s in range(50)) if _has_binaries(q))
    assert solve(query, Budget(0.0), Options()).verdict is Verdict.TIMED_OUT
    with pytest.raises(SalverError, match="no back end gurobi"):
        solve(query, Budget(1.0), Options(backend="gurobi"))


def _has_binaries(query: Query) -> bool:
    bounds = propagate(query.program, query.prop.input_lower, query.prop.input_upper)
    model = build(query.program, query.prop, bounds)
    return model is not None and bool(model.integer.any())


def test_a_dead_neuron_does_not_hide_the_witness(tmp_path: Path) -> None:
    """A row of zeros gives z = 0 everywhere: the mask is 0, and no margin can be kept around it."""
    weight = np.array([[1.0, 0.5], [0.0, 0.0]], np.float32)
    first = Linear(weight, np.zeros(2, np.float32))
    last = Linear(np.array([[-1.0, 1.0], [1.0, 1.0]], np.float32), np.array([0.2, 0.0], np.float32))
    nodes = (
        Node("z", first, ("X",), (2,)),
        Node("a", Relu(), ("z",), (2,)),
        Node("y", last, ("a",), (2,)),
    )
    classifier = Network("X", 2, nodes, "y")
    box = (np.full(2, -0.5), np.full(2, 0.5))
    query = saliency_query(tmp_path, classifier, np.array([0.05, 0.0]), box, 0.25)
    for backend in BACKENDS:
        assert _verdict(query, backend) is Verdict.SAT


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_exception_of_a_back_end_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    def raises(*_: object) -> None:
        raise ArithmeticError("oh")

    query = toy_gap(tmp_path)
    monkeypatch.setattr("salver.solvers.milp.highs.solve", raises)
    monkeypatch.setattr("salver.solvers.milp.scip.solve", raises)
    result = solve(query, Budget(30.0), Options(backend=backend))
    assert result.verdict is Verdict.UNKNOWN
    assert "ArithmeticError: oh" in result.reason


def test_where_highs_fails_scip_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(*_: object) -> None:
        raise ArithmeticError("oh")

    monkeypatch.setattr("salver.solvers.milp.highs.solve", raises)
    assert _verdict(toy_gap(tmp_path), "highs") is Verdict.UNSAT
