"""The parts of the search alone: linear relaxation, probing, branching."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import linprog

from salver.solvers.bounding.bounds import Bounds
from salver.solvers.hybrid import tree
from salver.solvers.hybrid.branching import branching_neuron
from salver.solvers.hybrid.linear import LinearRelaxation, scaled
from salver.solvers.hybrid.node import root_node, tighten
from salver.solvers.hybrid.probing import probe
from salver.solvers.hybrid.tree import TreeSearch
from salver.solvers.milp.model import build
from salver.solvers.milp.program import Milp
from salver.solvers.milp.rows import nonzero
from salver.solvers.query import Budget, Options, Query
from tests.builders.small_queries import random_query


def random_program(seed: int) -> Milp:
    """A small linear program in badly matched units, feasible about half of the time."""
    rng = np.random.default_rng(seed)
    rows, columns = int(rng.integers(3, 12)), int(rng.integers(2, 8))
    units = 10.0 ** rng.uniform(-4, 4, columns)
    matrix = rng.normal(size=(rows, columns)) * (rng.random((rows, columns)) < 0.7) / units
    middle, spread = rng.normal(size=rows) * 0.7, rng.uniform(0.0, 0.8, rows)
    return Milp(
        -units, units, np.zeros(columns, bool), sparse.csr_array(matrix), middle - spread, middle + spread,
        columns, {}, np.arange(rows // 2, rows),
    )  # fmt: skip


def feasible(model: Milp, lower: np.ndarray, upper: np.ndarray) -> bool:
    matrix = model.matrix.toarray()
    size = np.maximum(np.abs(upper), 1e-12)
    found = linprog(
        np.zeros(len(lower)),
        A_ub=np.vstack([matrix, -matrix]) * size,
        b_ub=np.concatenate([model.row_upper, -model.row_lower]),
        bounds=np.stack([lower / size, upper / size], axis=1),
        method="highs",
    )
    return found.status == 0


@pytest.mark.slow
def test_relaxations_are_refuted_only_where_there_is_no_point_and_nearly_always_there() -> None:
    answers, missed = [], 0
    for seed in range(120):
        model = random_program(seed)
        relaxation = LinearRelaxation(model)
        answers.append(relaxation.refuted())
        some = feasible(model, model.lower, model.upper)
        assert not (answers[-1] and some), seed
        missed += not answers[-1] and not some
        if some:
            x = relaxation.point
            values = model.matrix @ x
            assert (values >= model.row_lower - 1e-6).all()
            assert (values <= model.row_upper + 1e-6).all()
            assert (np.abs(x) <= model.upper * (1 + 1e-9)).all()
    assert 20 < sum(answers) < 100
    assert missed <= 3


def test_without_time_a_relaxation_is_solved_once_and_leaves_rows_out() -> None:
    left_out = 0
    for seed in range(40):
        model = random_program(seed)
        whole, short = LinearRelaxation(model), LinearRelaxation(model)
        refuted = short.refuted(budget=Budget(0.0))
        assert short.solves == 1
        assert whole.refuted() >= refuted
        left_out += len(short.rows) < len(whole.rows)
    assert left_out > 5


def test_large_parts_are_relaxed_for_a_share_of_the_seconds_for_bounds(tmp_path: Path) -> None:
    query, _ = open_roots(tmp_path, 1)[0]
    search = TreeSearch(query, Budget(1e6), Options())
    small, large = int(search.relaxing.value), int(search.relaxing.value) + 1
    assert search._allowed(small).seconds > 1e5
    assert search._allowed(large).over
    search.bounding_s = 1e3
    assert not search._allowed(large).over
    search.relaxing_s = 1e3
    assert search._allowed(large).over
    assert not search._allowed(0).over
    search.relaxing.success(large)
    assert not search._allowed(large).over


def test_parts_that_are_never_relaxed_are_split_to_the_same_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "RELAXING_SHARE", 0.0)
    programs = []
    for seed in (6, 7, 8):
        query = random_query(tmp_path, seed)
        answers = []
        for first in (tree.RELAX_FIRST, 0):
            search = TreeSearch(query, Budget(1e3), Options())
            search.relaxing.value = first
            answers.append(search.run([root_node(query)], lambda _: None).verdict)
            programs.append(search.statistics.programs)
        assert answers[0] is answers[1]
    assert sum(programs[::2]) > sum(programs[1::2])


@pytest.mark.slow
def test_fixing_and_releasing_a_column_changes_and_restores_the_answer() -> None:
    changed = missed = 0
    for seed in range(120):
        model = random_program(seed)
        relaxation = LinearRelaxation(model)
        if relaxation.refuted() or not feasible(model, model.lower, model.upper):
            continue
        for column in range(len(model.lower)):
            value = float(model.upper[column])
            relaxation.fix(column, value)
            lower, upper = model.lower.copy(), model.upper.copy()
            lower[column] = upper[column] = value
            refuted = relaxation.refuted()
            some = feasible(model, lower, upper)
            assert not (refuted and some), (seed, column)
            changed, missed = changed + refuted, missed + (not refuted and not some)
            relaxation.release(column)
            assert not relaxation.refuted()
    assert changed > 10
    assert missed <= 3


def test_an_infeasibility_without_a_valid_certificate_is_not_believed() -> None:
    model = next(m for m in map(random_program, range(99)) if LinearRelaxation(m).refuted())
    relaxation = LinearRelaxation(model)
    assert relaxation.refuted()

    class Forged:
        """A simplex code that calls everything infeasible."""

        def __init__(self, real: object, ray: np.ndarray | None) -> None:
            self.real, self.ray = real, ray

        def __getattr__(self, name: str) -> object:
            return getattr(self.real, name)

        def getDualRay(self) -> tuple[int, bool, np.ndarray | None]:
            return 0, self.ray is not None, self.ray

    rows = relaxation.matrix.shape[0]
    for ray in (None, np.zeros(rows), *np.eye(rows)):
        relaxation.backend = Forged(relaxation.backend, ray)
        believed = relaxation.refuted()
        alone = ray is not None and any(_row_impossible(relaxation, row) for row in np.flatnonzero(ray))
        assert believed is alone


def _row_impossible(relaxation: LinearRelaxation, row: int) -> bool:
    weights = relaxation.matrix[[row]].toarray()[0]
    high = np.where(weights > 0, relaxation.upper, relaxation.lower) @ weights
    low = np.where(weights > 0, relaxation.lower, relaxation.upper) @ weights
    number = relaxation.used[row]
    return bool(high < relaxation.model.row_lower[number] or low > relaxation.model.row_upper[number])


def test_scaling_multiplies_by_powers_of_two_alone() -> None:
    model = random_program(5)
    new, units, rows = scaled(model)
    assert np.array_equal(np.exp2(np.round(np.log2(rows))), rows)
    assert np.array_equal(np.exp2(np.round(np.log2(units))), units)
    assert np.array_equal(new.lower * units, model.lower)
    ratio = (new.matrix.toarray() * (1 / units))[model.matrix.toarray() != 0]
    ratio = ratio / model.matrix.toarray()[model.matrix.toarray() != 0]
    assert np.array_equal(np.exp2(np.round(np.log2(ratio))), ratio)


def open_roots(folder: Path, count: int) -> list[tuple[Query, Bounds]]:
    found = []
    for seed in range(300):
        query = random_query(folder, seed)
        bounds = tighten(query, root_node(query))
        if bounds is not None and bounds.undecided:
            found.append((query, bounds))
        if len(found) == count:
            break
    return found


@pytest.mark.slow
def test_probing_keeps_every_solution(tmp_path: Path) -> None:
    rng, kept, decided = np.random.default_rng(0), 0, 0
    for query, bounds in open_roots(tmp_path, 40):
        probed = probe(query, bounds, np.zeros(0, np.intp), Budget(20.0))
        decided += probed.decided
        x = rng.uniform(bounds.input_lower, bounds.input_upper, (3000, len(bounds.input_lower)))
        outputs, zs, _ = query.program.evaluate(x)
        solutions = query.prop.margin(outputs) >= 0
        for number, known in enumerate(bounds.signs):
            z = zs[number][solutions]
            inside = ((known == 0) | (known * z >= 0)).all()
            assert inside
        if solutions.any():
            assert not probed.closed
            kept += 1
            for number, known in probed.signs.items():
                z = zs[number][solutions]
                assert ((known == 0) | (known * z >= 0)).all()
    assert kept > 5
    assert decided > 5


@pytest.mark.slow
def test_a_closed_node_is_closed_for_the_mixed_integer_back_end_too(tmp_path: Path) -> None:
    from salver.solvers.milp.solver import backend, solve_within
    from salver.solvers.query import Options, Verdict

    closed = 0
    for query, bounds in open_roots(tmp_path, 40):
        if probe(query, bounds, np.zeros(0, np.intp), Budget(20.0)).closed:
            closed += 1
            result = solve_within(query, bounds, Budget(20.0), Options(), backend("highs"))
            assert result.verdict is Verdict.UNSAT
    assert closed > 3


@pytest.mark.slow
def test_range_rows_in_use_are_handed_on(tmp_path: Path) -> None:
    for query, bounds in open_roots(tmp_path, 20):
        model = build(query.program, query.prop, bounds)
        if model is None or not len(model.ranges):
            continue
        first = LinearRelaxation(model)
        refuted = first.refuted()
        again = LinearRelaxation(model, first.rows)
        assert set(first.rows) <= set(again.rows)
        assert again.refuted() is refuted


@pytest.mark.slow
def test_branching_takes_an_open_neuron_of_the_first_layer_that_has_one(tmp_path: Path) -> None:
    for query, bounds in open_roots(tmp_path, 40):
        chosen = branching_neuron(query.program, bounds)
        assert chosen is not None
        pre, neuron = chosen
        assert bounds.signs[pre][neuron] == 0
        assert all((signs != 0).all() for signs in bounds.signs[:pre])
        assert branching_neuron(query.program, bounds) == chosen
        done = replace(bounds, signs=[np.ones_like(signs) for signs in bounds.signs])
        assert branching_neuron(query.program, done) is None


@pytest.mark.parametrize("column", [0, 1])
def test_a_fixed_column_is_in_the_units_of_the_query(column: int) -> None:
    model = replace(
        random_program(3), row_lower=np.full(random_program(3).matrix.shape[0], -np.inf),
        row_upper=np.full(random_program(3).matrix.shape[0], np.inf),
    )  # fmt: skip
    relaxation = LinearRelaxation(model)
    value = float(model.upper[column]) / 4
    relaxation.fix(column, value)
    assert not relaxation.refuted()
    assert relaxation.point[column] == pytest.approx(value)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array, sparse.coo_array])
def test_picked_entries_are_those_of_the_matrix(kind: type) -> None:
    rng = np.random.default_rng(4)
    matrix = rng.normal(size=(7, 5)) * (rng.random((7, 5)) < 0.5)
    matrix[3] = 0.0
    pick = np.array([5, 3, 0, 6])
    rows, columns, values = nonzero(kind(matrix), pick, np.arange(5))
    found = np.zeros((4, 5))
    found[rows, columns] = values
    assert (found == matrix[pick]).all()
    assert (values != 0.0).all()
