"""Where rounding alone would decide: nothing is cut off or refuted that holds in exact fractions."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import highspy
import numpy as np
import pytest
from scipy import sparse

from salver.nets.affine import Affine
from salver.nets.program import MaskBlock, PreActivation, Program, ReluBlock
from salver.solvers.bounding.backward import quotient, tighten_backwards
from salver.solvers.bounding.bounds import interval, least_over_input
from salver.solvers.bounding.class_dual import ClassDual
from salver.solvers.bounding.composed import Composed
from salver.solvers.bounding.halfspaces import Halfspaces, lower_bounds
from salver.solvers.bounding.propagation import propagate
from salver.solvers.hybrid.linear import LinearRelaxation
from salver.solvers.hybrid.small_boxes import _Search
from salver.solvers.milp.program import Milp
from salver.spec import Atom, Ball, Property

Array = np.ndarray
SEEDS = range(8)


def exact(values: Array) -> Array:
    """The same numbers as fractions."""
    return np.vectorize(Fraction, otypes=[object])(np.asarray(values, np.float64))


def below(values: Array) -> Array:
    """The nearest numbers that are no larger."""
    near = values.astype(np.float64)
    return np.where(exact(near) > values, np.nextafter(near, -np.inf), near)


def cancelling(rng: np.random.Generator, point: Array) -> Array:
    """Weights [6, k] of integers whose sums with a point [k] of integers are 0."""
    rows = rng.integers(-(2**20), 2**20, (6, len(point))).astype(float)
    rows[:, -1] = -rows[:, :-1] @ point[:-1]
    assert point[-1] == 1
    return rows


class SaysInfeasible:
    """A back end that calls everything infeasible, by the multipliers that it was given."""

    def __init__(self, ray: Array) -> None:
        self.ray = ray

    def __getattr__(self, _: str) -> object:
        return lambda *_: None

    def getModelStatus(self) -> highspy.HighsModelStatus:
        return highspy.HighsModelStatus.kInfeasible

    def getDualRay(self) -> tuple[int, bool, Array]:
        return 0, True, self.ray


def relaxation_of(rows: Array, limits: Array, point: Array, size: Array | None = None) -> LinearRelaxation:
    """The program rows @ v >= limits where every column is fixed at a point."""
    matrix, open_ = sparse.csr_array(rows), np.full(len(limits), np.inf)
    size = np.zeros(0) if size is None else size
    columns = (point, point, np.zeros(len(point), bool))
    return LinearRelaxation(Milp(*columns, matrix, limits, open_, len(point), row_size=size))


def drawn_rows(seed: int, cancels: bool) -> tuple[np.random.Generator, Array, Array]:
    """Six rows and a point [6] of whole numbers, at which their sums may cancel to 0."""
    rng = np.random.default_rng(seed)
    point = np.append(rng.integers(-99, 99, 5), 1).astype(float)
    return rng, point, cancelling(rng, point) if cancels else rng.normal(size=(6, 6))


@pytest.mark.parametrize("cancels", [True, False])
def test_no_multipliers_refute_a_linear_program_with_a_point(cancels: bool) -> None:
    """The rows hold at the point with nothing to spare: its sums are 0, or the limits are its values."""
    for seed in SEEDS:
        rng, point, rows = drawn_rows(seed, cancels)
        relaxation = relaxation_of(rows, below(exact(rows) @ exact(point)), point)
        for _ in range(10):
            relaxation.backend = SaysInfeasible(rng.random(6))
            assert not relaxation.refuted()


def test_multipliers_that_underflow_refute_nothing() -> None:
    relaxation = relaxation_of(np.array([[1.0, 0.5]]), np.array([0.75]), np.array([0.0, 1.5]))
    for ray in (5e-324, 1.5e-323, 2.5e-323):
        relaxation.backend = SaysInfeasible(np.array([ray]))
        assert not relaxation.refuted()


@pytest.mark.parametrize("unit", [1e-200, 1e-220])
def test_coefficients_that_underflow_refute_nothing_beside_values_that_are_large(unit: float) -> None:
    """A value of 1e70 is above the limit; in units of the multiplier its coefficient is no number but 0."""
    rows, limits, point = np.array([[1e-130, 1.0]]), np.array([0.75e70]), np.array([1e200, 0.0])
    relaxation = relaxation_of(rows, limits, point)
    relaxation.backend = SaysInfeasible(np.array([unit]))
    assert not relaxation.refuted()
    composed = inputs_alone(point)
    composed.rows.append(np.column_stack([rows, -limits]))
    assert not _Search(SaysInfeasible(np.array([unit])), composed, []).closed()


@pytest.mark.filterwarnings("ignore:overflow")
def test_coefficients_that_overflow_refute_nothing_beside_values_that_are_small() -> None:
    """A column of -1e-200 meets the row exactly; its coefficient times the multiplier is infinite."""
    rows, limits, point = np.array([[1e200, 1.0]]), np.array([-1.0]), np.array([-1e-200, 0.0])
    relaxation = relaxation_of(rows, limits, point)
    relaxation.backend = SaysInfeasible(np.array([1e200]))
    assert not relaxation.refuted()
    composed = inputs_alone(point)
    composed.rows.append(np.column_stack([rows, -limits]))
    assert not _Search(SaysInfeasible(np.array([1e200])), composed, []).closed()


def test_a_row_that_composing_has_rounded_refutes_nothing_by_that() -> None:
    """As stored the row asks for 1e-11 of a column that is 0; what it was added up from is 1."""
    rows, limits, point = np.ones((1, 1)), np.array([1e-11]), np.zeros(1)
    for size, refuted in ((np.ones(1), False), (np.zeros(1), True)):
        relaxation = relaxation_of(rows, limits, point, size)
        relaxation.backend = SaysInfeasible(np.ones(1))
        assert relaxation.refuted() is refuted


def inputs_alone(point: Array) -> Composed:
    """The columns of a program without blocks, each fixed at an input."""
    program = Program(len(point), (), (), Affine({-1: np.eye(len(point))}, np.zeros(len(point))))
    return Composed(program, propagate(program, point, point))


@pytest.mark.parametrize("cancels", [True, False])
def test_no_multipliers_refute_a_small_box_with_a_point(cancels: bool) -> None:
    for seed in SEEDS:
        rng, point, rows = drawn_rows(seed, cancels)
        composed = inputs_alone(point)
        limits = below(exact(rows) @ exact(point))
        composed.rows.append(np.column_stack([rows, -limits]))
        for _ in range(10):
            assert not _Search(SaysInfeasible(rng.random(6)), composed, []).closed()


def test_multipliers_that_underflow_close_no_small_box() -> None:
    composed = inputs_alone(np.array([0.0, 1.5]))
    composed.rows.append(np.array([[1.0, 0.5, -0.75]]))
    for ray in (5e-324, 1.5e-323, 2.5e-323):
        assert not _Search(SaysInfeasible(np.array([ray])), composed, []).closed()


def deep(rng: np.random.Generator, large: float) -> tuple[Program, Array]:
    """Two layers that are on, of which the second takes a small difference of large values; one that is open.

    Returns:
        The program, and an input [2] of [-1, 1] at which the last layer is on as well.
    """
    first, second = rng.normal(size=(2, 2)), np.array([[1.0, -1.0 - 2.0**-33]]) * (1 + rng.random())
    biases = [large * (1 + rng.random(2) * 2.0**-33), np.zeros(1), np.zeros(1)]
    x = rng.uniform(-1.0, 1.0, 2)
    z = exact(second) @ (exact(first) @ exact(x) + exact(biases[0]))
    biases[1][0] = 30.0 - float(z[0])
    biases[2][0] = 1e-3 - float((z + exact(biases[1]))[0])
    weights = [first, second, np.ones((1, 1))]
    pre = [PreActivation(Affine({n - 1: w}, b)) for n, (w, b) in enumerate(zip(weights, biases, strict=True))]
    blocks = tuple(ReluBlock(number, len(bias)) for number, bias in enumerate(biases))
    return Program(2, tuple(pre), blocks, Affine({2: np.ones((1, 1))}, np.zeros(1))), x


@pytest.mark.parametrize("large", [1e3, 1e9])
def test_rows_of_a_small_box_hold_exactly_however_much_cancels_in_what_is_composed_away(large: float) -> None:
    for seed in SEEDS:
        program, x = deep(np.random.default_rng(seed), large)
        composed = Composed(program, propagate(program, -np.ones(2), np.ones(2)))
        assert [len(columns) for columns in composed.columns.values()] == [0, 0, 1]
        value = exact(x)
        for pre in program.pre:
            [matrix] = pre.affine.terms.values()
            value = exact(matrix) @ value + exact(pre.affine.constant)
        assert value[0] > 0
        point = np.array([*exact(x), Fraction(1), value[0], Fraction(1)])
        assert all((exact(rows) @ point >= 0).all() for rows in composed.rows)


def test_rows_of_a_small_box_count_what_composing_the_program_has_rounded() -> None:
    """The weight is stored as 0, was added up from 1 and is 5e-11: at x = 1 the ReLU is 4e-11."""
    z = Affine({-1: np.zeros((1, 1))}, np.full(1, -1e-11), {-1: np.ones((1, 1))})
    output = Affine({0: np.ones((1, 1))}, np.zeros(1))
    program = Program(1, (PreActivation(z),), (ReluBlock(0, 1),), output)
    composed = Composed(program, propagate(program, np.zeros(1), np.ones(1)))
    assert composed.signs[0].tolist() == [1]
    assert composed.columns[0].tolist() == [2]
    assert all((rows @ np.array([1.0, 1.0, 4e-11, 1.0]) >= 0.0).all() for rows in composed.rows)


@pytest.mark.parametrize(("large", "constant"), [(1e12, 0.0), (1.0, 1e12)])
def test_bounds_of_the_class_count_what_cancels_between_neurons(large: float, constant: float) -> None:
    """Two neurons that are on add up large terms, and a row takes a small difference of theirs; or the row
    has a large constant."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x, first = rng.random(2), large * rng.random((1, 2))
        weight = np.vstack([first, first * (1 + 1e-9 * rng.random())])
        bias = 1e4 - weight @ x
        z = exact(weight) @ exact(x) + exact(bias)
        rows = Affine({0: np.array([[1.0, -1.0 - 1e-9]]) * rng.random()}, np.full(1, constant * rng.random()))
        program = Program(2, (PreActivation(Affine({-1: weight}, bias)),), (ReluBlock(0, 2),), rows)
        dual = ClassDual.over(program, propagate(program, x, x), rows)
        assert dual is not None
        assert (dual.bounds.signs[0] == 1).all()
        found = dual.certified(dual.start(np.zeros(1, np.intp)), np.ones(1, np.float32)).bounds
        assert Fraction(found[0]) <= (exact(rows.terms[0]) @ z + exact(rows.constant))[0]


def in_exact(rows: Array, constant: Array, x: Array) -> Array:
    """Values [r] of rows at a point."""
    return np.asarray(exact(rows) @ exact(x) + exact(constant))


def test_rows_over_a_box_that_is_a_point_are_bounded_by_their_exact_values() -> None:
    nothing = Halfspaces(np.zeros((0, 4)), np.zeros(0))
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        rows, constant, x = rng.normal(size=(3, 4)), rng.normal(size=3), rng.normal(size=4)
        small = 1e-12 * rows
        assert (exact(lower_bounds(small, constant, nothing, x, x)) <= in_exact(small, constant, x)).all()
        assert (exact(lower_bounds(rows, constant, nothing, x, x)) <= in_exact(rows, constant, x)).all()
        constant = -(rows @ x)
        assert (exact(lower_bounds(rows, constant, nothing, x, x)) <= in_exact(rows, constant, x)).all()


def test_sums_that_underflow_are_bounded_from_below() -> None:
    """3e-324 - 4e-324 is -1e-324; in double precision both are 5e-324."""
    x, nothing = np.full(2, 1e-162), Halfspaces(np.zeros((0, 2)), np.zeros(0))
    rows, constant = np.array([[3e-162, -4e-162]]), np.zeros(1)
    assert rows[0] @ x == 0.0
    assert Fraction(lower_bounds(rows, constant, nothing, x, x)[0]) <= in_exact(rows, constant, x)[0]
    bounds = propagate(inputs_alone(x).program, x, x)
    assert Fraction(least_over_input(bounds, rows, constant, constant)[0]) <= in_exact(rows, constant, x)[0]


def test_intervals_hold_the_exact_values_of_a_point() -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        rows, x = rng.normal(size=(20, 4)), rng.normal(size=4)
        for constant in (rng.normal(size=20), -(rows @ x)):
            low, high, _ = interval(Affine({-1: rows}, constant), propagate(inputs_alone(x).program, x, x))
            values = in_exact(rows, constant, x)
            assert (exact(low) <= values).all()
            assert (values <= exact(high)).all()


def test_quotients_lie_in_their_ranges() -> None:
    rng = np.random.default_rng(0)
    product, divisor = rng.normal(size=50), rng.normal(size=50)
    low, high = quotient((product, product), (divisor, divisor))
    values = exact(product) / exact(divisor)
    assert (exact(low) <= values).all()
    assert (values <= exact(high)).all()


@pytest.mark.parametrize(("large", "cancels"), [(1.0, False), (1e12, False), (2.0**40, True)])
def test_what_is_added_up_of_halfspaces_counts_in_the_bounds_by_them(large: float, cancels: bool) -> None:
    """A halfspace limits x_0 with terms that are large beside it, and fixed; a point lies on its edge."""
    sharp = 0
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        x = np.append(rng.uniform(-0.5, 0.5), rng.normal(size=2))
        low, high = x.copy(), x.copy()
        low[0], high[0] = -1.0, 1.0
        matrix = np.array([[1.0, *(large * rng.normal(size=2))]])
        if cancels:
            matrix[0, 1:] = large * x[2], -large * x[1]
        edge = in_exact(matrix, np.zeros(1), x)
        cuts = Halfspaces(matrix, -below(edge))
        rows = np.array([[1.0, 0.0, 0.0]])
        found = lower_bounds(rows, np.zeros(1), cuts, low, high, steps=150)
        assert Fraction(found[0]) <= Fraction(x[0])
        sharp += found[0] > x[0] - 1e-3 - 1e-9 * large
    assert sharp > 4


def test_coefficients_that_underflow_bound_nothing_beside_a_wide_input() -> None:
    """The halfspace leaves all values of x_1; multiplied, its coefficient of x_0 is no number but 0."""
    low, high = np.array([-1e150, -1.0]), np.array([1e150, 1.0])
    for seed in range(40):
        rng = np.random.default_rng(seed)
        cuts = Halfspaces(np.array([[1e-150 * (1 + rng.random()), 1.0]]), 0.1 * rng.normal(size=1))
        assert lower_bounds(np.array([[0.0, 1e-180]]), np.zeros(1), cuts, low, high)[0] <= -1e-180


def test_a_ball_far_around_a_box_moves_no_bound_beyond_the_box() -> None:
    """The bound by the ball, whose centre is far, is that of the box but for what rounds at the centre."""
    nothing = Halfspaces(np.zeros((0, 3)), np.zeros(0))
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        centre = 1e8 * (1.0 + rng.random(3))
        low, high = np.zeros(3), np.full(3, 1e-6)
        ball = Ball(centre, 1e18)
        assert ball.holds(low)
        rows, constant = rng.random((4, 3)), rng.normal(size=4)
        exactly = exact(constant)
        assert (exact(lower_bounds(rows, constant, nothing, low, high, ball=ball)) <= exactly).all()
        bounds = replace(propagate(inputs_alone(low).program, low, high), ball=ball)
        assert (exact(least_over_input(bounds, rows, constant, np.abs(constant))) <= exactly).all()


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
def test_a_tangent_holds_exactly_where_it_touches_the_ball(scale: float) -> None:
    """The point of the sphere next to centre + k (3, 4) is centre + radius (3, 4) / 5."""
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        radius = scale * float(rng.integers(1, 99)) / 64
        ball = Ball(rng.normal(size=2), radius * radius)
        step = float(rng.uniform(1.5, 9.0)) * radius
        row, constant = ball.tangent(ball.centre + step * np.array([0.6, 0.8]))
        touched = exact(ball.centre) + Fraction(radius) * np.array([Fraction(3, 5), Fraction(4, 5)])
        assert exact(row) @ touched + Fraction(constant) >= 0


def test_what_a_row_reads_besides_a_mask_counts_with_its_whole_range() -> None:
    """mask - x is in [0.4, 0.45] at x = 0.6, where the mask of x > 0.5 is on."""
    program = Program(
        1,
        (PreActivation(Affine({-1: np.ones((1, 1))}, np.array([-0.5]))),),
        (MaskBlock(0, 1),),
        Affine({0: np.ones((1, 1)), -1: -np.ones((1, 1))}, np.zeros(1)),
    )
    bounds = propagate(program, np.zeros(1), np.ones(1))
    limits = (Atom(0, ">=", constant=0.4), Atom(0, "<=", constant=0.45))
    prop = Property(np.zeros(1), np.ones(1), tuple(((limit,),) for limit in limits), 1)
    found = tighten_backwards(program, prop, bounds)
    assert not found.infeasible
    assert found.signs[0][0] >= 0
    assert found.block_upper[0][0] == 1.0


def test_what_cancels_besides_a_mask_leaves_the_mask_open() -> None:
    """The output is 1e-3 where the mask is on; the other terms are 1e12 and cancel."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        weight, x = 1e12 * (1.0 + rng.random()), 1.0 + rng.random()
        constant = -weight * x
        program = Program(
            2,
            (PreActivation(Affine({-1: np.array([[1.0, 0.0]])}, np.array([-0.5]))),),
            (MaskBlock(0, 1),),
            Affine({0: np.full((1, 1), 1e-3), -1: np.array([[0.0, weight]])}, np.full(1, constant)),
        )
        bounds = propagate(program, np.array([0.0, x]), np.array([1.0, x]))
        value = Fraction(1e-3) + Fraction(weight) * Fraction(x) + Fraction(constant)
        near = below(np.array([value]))[0]
        limits = (Atom(0, ">=", constant=near), Atom(0, "<=", constant=float(np.nextafter(near, np.inf))))
        prop = Property(bounds.input_lower, bounds.input_upper, tuple(((limit,),) for limit in limits), 1)
        found = tighten_backwards(program, prop, bounds)
        assert not found.infeasible
        assert found.signs[0][0] >= 0


def crossing(rng: np.random.Generator) -> tuple[ClassDual, Array, Array]:
    """A row over two open neurons of large, nearly equal terms, in a box that is a point.

    Returns:
        Bounds of the row, its weights [2], and the exact arguments [2] at the point, which are near 0.
    """
    x, first = rng.random(2), 1e12 * rng.random((1, 2))
    weight = np.vstack([first, first * (1 + 1e-9 * rng.random())])
    bias = -(weight @ x)
    rows = Affine({0: 1e-9 * rng.normal(size=(1, 2))}, np.zeros(1))
    program = Program(2, (PreActivation(Affine({-1: weight}, bias)),), (ReluBlock(0, 2),), rows)
    dual = ClassDual.over(program, propagate(program, x, x), rows)
    assert dual is not None
    return dual, rows.terms[0][0], exact(weight) @ exact(x) + exact(bias)


def test_bounds_of_the_class_count_what_multipliers_cancel() -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        dual, weights, z = crossing(rng)
        parts = dual.start(np.zeros(1, np.intp))
        signs = np.where(z > 0, 1, -1).astype(np.int8)[:, None]
        parts = replace(parts, signs=(signs,), multipliers=(dual.relus[0].width,))
        found = dual.certified(parts, np.ones(1, np.float32)).bounds
        assert Fraction(found[0]) <= exact(weights) @ np.maximum(z, 0)


@pytest.mark.parametrize("number", [-1.0, 2.0, np.inf, -np.inf, np.nan])
def test_no_slope_or_multiplier_makes_a_bound_of_the_class_wrong(number: float) -> None:
    """max(x, 0) - 2 x in [-1, 1] is -1 at x = 1."""
    rows = Affine({0: np.ones((1, 1)), -1: np.full((1, 1), -2.0)}, np.zeros(1))
    program = Program(1, (PreActivation(Affine({-1: np.eye(1)}, np.zeros(1))),), (ReluBlock(0, 1),), rows)
    dual = ClassDual.over(program, propagate(program, -np.ones(1), np.ones(1)), rows)
    assert dual is not None
    parts, drawn = dual.start(np.zeros(1, np.intp)), np.full((1, 1), number, np.float32)
    for sign in (0, 1):
        at = replace(parts, signs=(np.full((1, 1), sign, np.int8),), slopes=(drawn,), multipliers=(drawn,))
        assert not dual.certified(at, np.ones(1, np.float32)).bounds[0] > -1.0


def test_a_slope_that_underflows_counts_beside_a_large_weight() -> None:
    """-1e38 max(x, 0) for x in [-1e38, h] is least at h; of h / (h + 1e38) a digit or two are left."""
    rows = Affine({0: np.full((1, 1), -1e38)}, np.zeros(1))
    program = Program(1, (PreActivation(Affine({-1: np.eye(1)}, np.zeros(1))),), (ReluBlock(0, 1),), rows)
    for seed in SEEDS:
        high = np.array([1e-284 * (1 + np.random.default_rng(seed).random())])
        bounds = propagate(program, np.array([-1e38]), high)
        bounds = replace(bounds, pre_upper=[high], block_upper={**bounds.block_upper, 0: high})
        dual = ClassDual.over(program, bounds, rows)
        assert dual is not None
        found = dual.certified(dual.start(np.zeros(1, np.intp)), np.ones(1, np.float32)).bounds
        assert Fraction(found[0]) <= Fraction(-1e38) * Fraction(high[0])
