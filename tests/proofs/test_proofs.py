"""Exact arithmetic, the rows of a proof, the checker, and the search that writes proofs."""

from __future__ import annotations

import gzip
import json
import math
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.soundness.proofs import accepted, examine
from experiments.soundness.queries import draw
from experiments.soundness.stated import graph_of, read_again, statement_of
from salver.core.errors import SalverError
from salver.nets import network as nets
from salver.nets.network import lower
from salver.proofs.checker import Checker, check
from salver.proofs.command import main as check_proof
from salver.proofs.context import Context
from salver.proofs.exact import (
    LIMB,
    MOST_TERMS,
    Matrix,
    Unit,
    cut_into_limbs,
    largest,
    narrow,
    plus,
    scattered,
)
from salver.proofs.graph import STEP, Abs, Gate, Graph, Relu
from salver.proofs.record import QueryFiles, read_proof, write_proof
from salver.proofs.row_sum import ABS_ROWS, GATE_ROWS, RELU_ROWS, STEP_ROWS, RejectedError, RowSum
from salver.solvers.proving.search import prove
from salver.solvers.proving.statement import exact
from salver.solvers.query import Budget, Query
from salver.spec import Atom, Property
from salver.spec.write import to_vnnlib1
from tests.builders.small_queries import toy_gap

SINGLE = st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-1e6, max_value=1e6)


@pytest.mark.slow
@given(st.lists(SINGLE, min_size=6, max_size=6), st.lists(st.floats(-1e9, 1e9), min_size=3, max_size=3))
def test_products_are_those_of_fractions_rounded_down(weights: list[float], row: list[float]) -> None:
    dense = np.array(weights).reshape(2, 3)
    values = Unit().ints(row)
    product = Matrix(dense).times(values[None])[0]
    for i in range(2):
        exact = sum(Fraction(float(dense[i, j])) * int(values[j]) for j in range(3))
        assert product[i] == math.floor(exact)
    back = Matrix(dense.T).after(values[None])[0]
    assert back.tolist() == product.tolist()


WHOLE = st.one_of(
    st.integers(-(1 << 70), 1 << 70),
    st.integers(-100, 100),
    st.integers(0, 64).map(lambda n: -(1 << n)),
    st.integers(0, 64).map(lambda n: (1 << n) - 1),
)


@given(st.lists(WHOLE, min_size=4, max_size=4), st.lists(WHOLE, min_size=4, max_size=4))
def test_sums_are_exact_whether_they_fit_into_64_bits_or_not(left: list[int], right: list[int]) -> None:
    one, other = (narrow(np.array(values, dtype=object)) for values in (left, right))
    assert one.tolist() == left
    assert largest(one) == max(map(abs, left))
    assert plus(one, other).tolist() == [a + b for a, b in zip(left, right, strict=True)]
    places = np.array([0, 2, 2, 2])
    assert scattered(3, places, one).tolist() == [left[0], 0, sum(left[1:])]
    for signed in (False, True):
        limbs = cut_into_limbs(one, signed)
        assert all((np.abs(limb) <= 1 << LIMB).all() for limb in limbs)
        digits = [[int(value) << (LIMB * i) for value in limb] for i, limb in enumerate(limbs)]
        assert [sum(column) for column in zip(*digits, strict=True)] == left


@pytest.mark.slow
@given(st.lists(WHOLE, min_size=6, max_size=6), st.lists(WHOLE, min_size=6, max_size=6))
def test_dot_products_are_rounded_down_once(rows: list[int], values: list[int]) -> None:
    one = narrow(np.array(rows, dtype=object)).reshape(2, 3)
    low, high = np.array(values[:3], dtype=object), np.array(values[3:], dtype=object)
    found = Unit().dot(((np.maximum(one, 0), low), (np.minimum(one, 0), high)))
    for k in range(2):
        row = rows[3 * k : 3 * k + 3]
        exact = sum(r * (a if r > 0 else b) for r, a, b in zip(row, values[:3], values[3:], strict=True))
        assert int(found[k]) == exact >> Unit().places


@given(st.lists(st.floats(-1e25, 1e25), min_size=1, max_size=5))
def test_many_floats_are_rounded_as_one_is(values: list[float]) -> None:
    exact = [math.floor(Fraction(value) * Unit().one) for value in values]
    assert Unit().ints(values).tolist() == exact


@given(st.floats(-1e12, 1e12))
def test_numbers_are_rounded_to_their_side(value: float) -> None:
    unit = Unit()
    (down,), (up,) = unit.ints([value]).tolist(), unit.ints_up([value]).tolist()
    assert Fraction(down, unit.one) <= Fraction(value) <= Fraction(up, unit.one)
    assert up - down <= 1


@pytest.mark.parametrize("weights", [[[np.nan]], [[np.inf]], [[1e-300, 1e300]]])
def test_what_cannot_be_added_up_exactly_is_no_weight(weights: list[list[float]]) -> None:
    with pytest.raises(ValueError):
        Matrix(np.array(weights))


@pytest.mark.parametrize("terms", [40, 2_000, MOST_TERMS])
def test_sums_of_the_largest_limbs_are_exact(terms: int) -> None:
    """Once added up in floats, once in integers, where more meet than floats hold."""
    whole = 2.0**53 - 1.0
    rows = np.array([[2**62 - 1] * terms, [-(2**62) + 1] * terms])
    weights = np.array([[whole] * terms, [-whole] * terms])
    expected = terms * int(whole) * (2**62 - 1)
    for made in (Matrix(weights).times(rows), Matrix(weights.T).after(rows)):
        assert made.astype(object).tolist() == [[expected, -expected], [-expected, expected]]


@pytest.mark.parametrize("weights", [np.eye(3), np.full((3, 3), 2.0**53 - 1.0)])
def test_no_rows_have_no_products(weights: np.ndarray) -> None:
    none = np.zeros((0, 3), np.int64)
    assert Matrix(weights).times(none).shape == Matrix(weights).after(none).shape == (0, 3)


def _tensors(graph: Graph, network: nets.Network, points: np.ndarray) -> dict[str, np.ndarray]:
    """Every tensor and step at points [k, n], by ONNX semantics in float64."""
    values = {graph.network.input: points}
    nodes = network.nodes
    for number, node in enumerate(nodes):
        if node.name in graph.sizes:
            upto = nets.Network(graph.network.input, points.shape[1], nodes[: number + 1], node.name)
            values[node.name] = lower(upto).evaluate(points)[0]
    for switch in graph.switches:
        values[STEP + switch] = (values[switch] > 0).astype(float)
    return values


def _kinds(graph: Graph) -> list[tuple[str, str]]:
    rows = {Relu: RELU_ROWS, Gate: GATE_ROWS, Abs: ABS_ROWS}
    found = [(kind, name) for name, form in graph.forms.items() for kind in rows.get(type(form), ())]
    found += [(kind, name) for name in graph.switches for kind in STEP_ROWS]
    return found + [(kind, name) for name in graph.sizes for kind in ("low", "high")]


@pytest.mark.parametrize("seed", range(12))
def test_ranges_and_every_row_hold_at_sampled_points(tmp_path: Path, seed: int) -> None:
    query = read_again(draw(tmp_path, seed).query)
    graph = graph_of(query.network)
    context = Context.start(graph, exact(query.prop))
    one = context.unit.one
    rng = np.random.default_rng(seed)
    points = rng.uniform(query.prop.input_lower, query.prop.input_upper, (100, query.network.input_size))
    values = _tensors(graph, query.network, points)
    for name, size in graph.sizes.items():
        slack = 1e-9 * (1 + np.abs(values[name]).max())
        assert values[name].shape == (100, size)
        assert (values[name] >= context.low[name].astype(float) / one - slack).all(), name
        assert (values[name] <= context.high[name].astype(float) / one + slack).all(), name
    checker = Checker(graph, exact(query.prop))
    for kind, name in _kinds(graph):
        for entry in range(graph.sizes[name]):
            sum_ = RowSum(checker.graph, checker.atoms, context, 1)
            terms, constant = sum_.row_of(kind, name, np.array([entry]))
            row = 0.0 if constant is None else float(constant[0]) / one
            for tensor, c in terms:
                row = row + values[tensor][:, entry] * (c if isinstance(c, int) else float(c[0]) / one)
            assert (row >= -1e-7 * (1 + np.abs(row).max())).all(), (kind, name, entry)


@pytest.mark.parametrize("seed", range(6))
def test_no_multipliers_make_a_wrong_bound(tmp_path: Path, seed: int) -> None:
    query = read_again(draw(tmp_path, 100 + seed).query)
    graph, rng = graph_of(query.network), np.random.default_rng(seed)
    context = Context.start(graph, exact(query.prop))
    one = context.unit.one
    points = rng.uniform(query.prop.input_lower, query.prop.input_upper, (100, query.network.input_size))
    values, kinds, checker = (
        _tensors(graph, query.network, points),
        _kinds(graph),
        Checker(graph, exact(query.prop)),
    )
    for _ in range(10):
        by = []
        for kind, name in kinds:
            if rng.random() < 0.6:
                count = int(rng.integers(1, 4))
                entries = rng.integers(0, graph.sizes[name], count).tolist()
                by.append(
                    [kind, name, rng.integers(0, 2, count).tolist(), entries, rng.random(count).tolist()]
                )
        name = str(rng.choice(list(graph.sizes)))
        entries, signs = rng.integers(0, graph.sizes[name], 2), rng.choice([-1, 1], 2)
        sum_ = RowSum(checker.graph, checker.atoms, context, 2)
        sum_.add(name, np.arange(2), entries, (signs * one).astype(object))
        sum_.subtract_rows(by)
        least = sum_.least({}).astype(float) / one
        for i in range(2):
            seen = (signs[i] * values[name][:, entries[i]]).min()
            assert least[i] <= seen + 1e-7 * (1 + abs(seen))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(14))
def test_proofs_agree_with_enumeration_and_no_corrupted_one_is_accepted(tmp_path: Path, seed: int) -> None:
    _, complaints = examine(tmp_path, seed, 2)
    assert complaints == []


def _proven(folder: Path) -> tuple[Query, list[object]]:
    query = read_again(toy_gap(folder))
    steps = prove(query, Budget(20))
    assert steps is not None
    return query, steps


def test_a_proof_of_one_query_is_none_of_another(tmp_path: Path) -> None:
    query, steps = _proven(tmp_path)
    other = Property(query.prop.input_lower, query.prop.input_upper, query.prop.clauses[:1], 2)
    path, network = tmp_path / "toy.proof.gz", query.onnx.read_bytes()
    files = QueryFiles(network, b"one")
    write_proof(path, files, steps)
    assert list(read_proof(path, files)) == json.loads(json.dumps(steps))
    with pytest.raises(SalverError, match="another property"):
        read_proof(path, QueryFiles(network, b"other"))
    with pytest.raises(SalverError, match="another network"):
        read_proof(path, QueryFiles(network + b" ", files.prop))
    assert not accepted(query, other, steps)


def test_the_same_steps_give_the_same_bytes(tmp_path: Path) -> None:
    _, steps = _proven(tmp_path)
    for name in ("a.gz", "b.gz"):
        write_proof(tmp_path / name, QueryFiles(b"n", b"p"), steps)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


@pytest.mark.parametrize(
    ("step", "why"),
    [
        ({"do": "assume"}, "no step is called"),
        ({}, "malformed"),
        (17, "malformed"),
        ({"do": "split", "switch": "nowhere", "at": 0}, "unknown name"),
        ({"do": "split", "switch": "SWITCH", "at": -1}, "no number"),
        ({"do": "split", "switch": "SWITCH", "at": 10**9}, "malformed"),
        ({"do": "divide", "at": 0}, "malformed"),
        ({"do": "divide", "at": -1, "where": 0.0}, "no number"),
        ({"do": "divide", "at": 10**9, "where": 0.0}, "malformed"),
        ({"do": "divide", "at": 0, "where": "0"}, "malformed"),
        ({"do": "divide", "at": 0, "where": True}, "malformed"),
        ({"do": "divide", "at": 0, "where": float("nan")}, "malformed"),
        ({"do": "divide", "at": 0, "where": float("inf")}, "malformed"),
        ({"do": "close", "by": [["low", "X", [0], [0], [-1.0]]]}, "multipliers"),
        ({"do": "close", "by": [["low", "X", [0], [0], ["1"]]]}, "malformed|contradiction"),
        ({"do": "close", "by": [["low", "X", [0], [0], [float("nan")]]]}, "malformed"),
        ({"do": "close", "by": [["gate_low", "X", [0], [0], [1.0]]]}, "no row"),
        ({"do": "close", "by": []}, "no contradiction"),
        ({"do": "close", "by": [["atom", "", [0], [[9, 0, 0]], [1.0]]]}, "no clause"),
        ({"do": "close", "by": [["atom", "", [0], [[0, 9, 0]], [1.0]]]}, "no conjunction"),
        ({"do": "close", "by": [["atom", "", [0], [[0, 0, 9]], [1.0]]]}, "no atom"),
        ({"do": "close", "by": [["atom", "", [0], [[0, 0]], [1.0]]]}, "three numbers"),
        ({"do": "close", "by": [["atom", "", [0], [[0, True, 0]], [1.0]]]}, "no whole number"),
        ({"do": "close", "by": [["atom", "", [0], [[0, -1, 0]], [1.0]]]}, "negative"),
        ({"do": "close", "by": [["atom", "", [1], [[0, 0, 0]], [1.0]]]}, "malformed|no deduction"),
        ({"do": "close", "by": [["low", "X", [1], [0], [1.0]]]}, "no deduction"),
        ({"do": "close", "by": [["low", "X", [0], [10**9], [1.0]]]}, "no such entry"),
        ({"do": "bound", "tensor": "X", "at": [0] * 10_000, "lower": [1] * 10_000, "by": []}, "10000"),
    ],
)
def test_a_malformed_step_is_rejected_in_one_line(tmp_path: Path, step: object, why: str) -> None:
    network, prop = statement_of(toy_gap(tmp_path))
    text = json.dumps(step).replace("SWITCH", Graph(network).switches[0])
    with pytest.raises(RejectedError, match=why) as caught:
        check(network, prop, [json.loads(text)])
    assert "\n" not in str(caught.value)


def test_an_alternative_may_not_be_used_as_if_it_were_certain(tmp_path: Path) -> None:
    query = toy_gap(tmp_path)
    either = ((Atom(0, ">=", constant=5.0),), (Atom(0, "<=", constant=5.0),))
    prop = Property(query.prop.input_lower, query.prop.input_upper, (either,), 2)
    refuting = [["atom", "", [0], [[0, 0, 0]], [1.0]], ["high", "Y", [0], [0], [1.0]]]
    with pytest.raises(RejectedError, match="neither certain nor assumed"):
        check(*statement_of(query, prop), [{"do": "close", "by": refuting}])
    dropped = {"do": "drop", "clause": 0, "parts": [0], "by": refuting}
    with pytest.raises(RejectedError, match="left open"):
        check(*statement_of(query, prop), [dropped])


def test_a_branch_left_open_is_no_proof(tmp_path: Path) -> None:
    network, prop = statement_of(toy_gap(tmp_path))
    with pytest.raises(RejectedError, match="2 parts of the query are left open"):
        check(network, prop, [{"do": "split", "switch": Graph(network).switches[0], "at": 0}])


def _files(folder: Path, query: Query) -> tuple[str, str]:
    vnnlib = folder / "q.vnnlib"
    vnnlib.write_text(to_vnnlib1(query.prop, []))
    return str(query.onnx), str(vnnlib)


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["hybrid", "milp", "crown"])
def test_the_command_line_writes_and_checks_proofs(
    tmp_path: Path, solver: str, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx, vnnlib = _files(tmp_path, toy_gap(tmp_path, 0.375, 0.625))
    proof = tmp_path / "q.proof.gz"
    command = [sys.executable, "-m", "salver.solvers", solver, "verify", vnnlib, "--network", f"N={onnx}"]
    done = subprocess.run(
        [*command, "--timeout", "60", "--proof", str(proof)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "unsat\n"), done.stderr
    assert check_proof([onnx, vnnlib, str(proof)]) == 0
    assert capsys.readouterr().out.startswith("accepted: unsat")
    lines = gzip.decompress(proof.read_bytes()).splitlines(keepends=True)
    proof.write_bytes(b"".join(lines[:-1]))
    assert check_proof([onnx, vnnlib, str(proof)]) in (1, 2)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no salver-proof"),
        (b"\x1f\x8b\x08\x00broken", "no proof file"),
        (b"\xff\xfe", "no proof file"),
        (b"[" * 100_000, "no proof file"),
        (b'{"format": "salver-proof", "version": "2"}', "no salver-proof with a version"),
        (b'{"format": "salver-proof", "version": 3}', "another network"),
    ],
)
def test_what_is_no_proof_is_one_clear_line(
    tmp_path: Path, content: bytes, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx, vnnlib = _files(tmp_path, toy_gap(tmp_path, 0.375, 0.625))
    (tmp_path / "bad").write_bytes(content)
    assert check_proof([onnx, vnnlib, str(tmp_path / "bad")]) == 2
    assert why in capsys.readouterr().err
    assert check_proof([onnx, vnnlib, str(tmp_path / "missing")]) == 2


def test_a_solver_without_proofs_says_so() -> None:
    command = [
        sys.executable,
        "-m",
        "salver.solvers",
        "falsify",
        "verify",
        "q",
        "--network",
        "N=n",
        "--proof",
        "p",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 2
    assert "falsify writes no proofs" in done.stderr


@pytest.mark.slow
def test_the_checker_imports_no_solver_and_no_other_reader() -> None:
    code = (
        "import sys, salver.proofs.command, salver.proofs.record;"
        "apart = ('salver.solvers', 'salver.nets', 'salver.spec');"
        "print([m for m in sys.modules if m.startswith(apart)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_satisfiable_query_has_no_proof(tmp_path: Path) -> None:
    assert prove(read_again(toy_gap(tmp_path, 0.4, 1.0)), Budget(5)) is None
