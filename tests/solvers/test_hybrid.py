"""hybrid and its parts against exact enumeration on random small queries."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from salver.explain.unroll import logit_combination, unroll
from salver.families import conditions
from salver.nets.network import Network
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.operators import Linear, Node, Relu, Scale, Sign
from salver.nets.torch_bridge import from_torch
from salver.oracle.enumerate import enumerate_query
from salver.solvers.bounding.backward import tighten_backwards
from salver.solvers.bounding.halfspaces import Halfspaces, lower_bounds
from salver.solvers.bounding.propagation import propagate
from salver.solvers.hybrid.node import children, root_node, tighten
from salver.solvers.hybrid.parallel import search_in_parallel
from salver.solvers.hybrid.solver import solve
from salver.solvers.query import Budget, Options, Query, Verdict
from salver.spec import Atom, Property, float32_down, float32_up
from salver.spec.truth import Truth


def random_query(seed: int, tmp_path) -> Query:
    """A random saliency query: box, sign or top-k condition, one or all target classes."""
    rng = np.random.default_rng(seed)
    inputs, classes = int(rng.integers(2, 5)), int(rng.integers(2, 4))
    widths = [int(w) for w in rng.integers(2, 7, size=rng.integers(1, 3))]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for a, b in zip([inputs, *widths[:-1]], widths, strict=True):
            layers += [nn.Linear(a, b), nn.ReLU()]
        classifier = from_torch(nn.Sequential(*layers, nn.Linear(widths[-1], classes)), inputs)
    xhat = rng.uniform(-1, 1, inputs)
    label = int(np.argmax(evaluate_logits(classifier, xhat)))
    kind = rng.choice(["box", "box", "box", "signs", "top-k"])
    graph = unroll(classifier, logit_combination(classes, label), "abs" if kind == "top-k" else "raw")
    query = Query(tmp_path / "q.onnx", graph, None)  # type: ignore[arg-type]
    reference = query.program.evaluate(xhat)[0][0][classes:]
    try:
        if kind == "box":
            delta = float(rng.choice([1e-3, 0.05, 0.2, 0.5]) * max(np.abs(reference).max(), 0.1))
            clauses = conditions.saliency_box(classes, reference, delta)
        elif kind == "signs":
            clauses = conditions.same_signs(classes, reference, 0.01)
        else:
            clauses = conditions.same_top_k(classes, reference, int(rng.integers(1, inputs)))
    except Exception:  # a constant or tied reference has no such condition
        clauses = conditions.saliency_box(classes, reference, 0.05)
    others = [k for k in range(classes) if k != label]
    epsilon = rng.uniform(0.2, 1.5)
    prop = Property(
        float32_down(xhat - epsilon),
        float32_up(xhat + epsilon),
        (*clauses, *conditions.some_class_beats(label, others)),
        graph.output_size,
    )
    path = tmp_path / f"{seed}.onnx"
    path.write_bytes(to_bytes(to_model(graph)))
    return Query(path, graph, prop)


def evaluate_logits(classifier: Network, x: np.ndarray) -> np.ndarray:
    from salver.nets.network import evaluate

    return evaluate(classifier, x[None])[0]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_agrees_with_enumeration(seed, tmp_path):
    query = random_query(seed, tmp_path)
    oracle = enumerate_query(query.network, query.prop)
    result = solve(query, Budget(20.0), Options(seed=seed))
    if oracle.truth is Truth.UNSAT:
        assert result.verdict is not Verdict.SAT
    if oracle.truth is Truth.SAT:
        assert result.verdict is not Verdict.UNSAT
    if oracle.clear:
        assert result.verdict.value == oracle.truth.value
    if result.verdict is Verdict.SAT:
        assert result.witness is not None
        assert query.confirm(result.witness) is not None


@pytest.mark.parametrize("seed", range(100, 120))
def test_tightening_keeps_every_violation(seed, tmp_path):
    """Sampled violating points must lie within the bounds of the root and of one of its children."""
    query = random_query(seed, tmp_path)
    prop, program = query.prop, query.program
    rng = np.random.default_rng(seed)
    x = rng.uniform(prop.input_lower, prop.input_upper, (20000, len(prop.input_lower)))
    outputs, zs, values = program.evaluate(x)
    inside = prop.margin(outputs) >= 0
    if not inside.any():
        return
    root = root_node(query)
    assert not tighten_backwards(program, prop, root.within).infeasible
    bounds = tighten(query, root)
    assert bounds is not None
    for number, z in enumerate(zs):
        assert (z[inside] >= bounds.pre_lower[number] - 1e-9).all()
        assert (z[inside] <= bounds.pre_upper[number] + 1e-9).all()
        assert ((z[inside] > 0) | (bounds.signs[number] <= 0)).all()
        assert ((z[inside] <= 0) | (bounds.signs[number] >= 0)).all()
    for number in range(len(program.blocks)):
        assert (values[number][inside] >= bounds.block_lower[number] - 1e-9).all()
        assert (values[number][inside] <= bounds.block_upper[number] + 1e-9).all()
    pair = children(query, bounds, root) if bounds.undecided else []
    if pair:
        found = [tighten(query, child) for child in pair]
        pre = next(i for i, s in enumerate(bounds.signs) if (s == 0).any())
        for child, result in zip(pair, found, strict=True):
            decided = child.signs[pre]
            here = inside & ((zs[pre] > 0) | (decided <= 0)).all(1) & ((zs[pre] <= 0) | (decided >= 0)).all(1)
            assert result is not None or not here.any()


@pytest.mark.parametrize("seed", range(10))
def test_halfspace_bounds_are_sound_and_close(seed):
    from scipy.optimize import linprog

    rng = np.random.default_rng(seed)
    n, rows, cuts = 6, 4, 3
    C, d = rng.normal(size=(rows, n)), rng.normal(size=rows)
    A, b = rng.normal(size=(cuts, n)), rng.uniform(0, 1, size=cuts)
    low, high = -np.ones(n), np.ones(n)
    found = lower_bounds(C, d, Halfspaces(A, b), low, high, steps=200)
    plain = lower_bounds(C, d, Halfspaces(A[:0], b[:0]), low, high)
    for row in range(rows):
        exact = linprog(C[row], A_ub=-A, b_ub=b, bounds=list(zip(low, high, strict=True)))
        assert exact.status == 0
        least = exact.fun + d[row]
        assert found[row] <= least + 1e-9
        assert found[row] >= plain[row] - 1e-9
        assert least - found[row] <= 0.05 * (np.abs(C[row]).sum() + 1)


def test_empty_cut_box_is_recognised():
    cuts = Halfspaces(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([-0.5, -0.4]))
    bound = lower_bounds(np.array([[0.0, 1.0]]), np.zeros(1), cuts, -np.ones(2), np.ones(2), steps=200)
    assert bound[0] > 1.0


def toy_gap() -> Network:
    """One ReLU, logits (a, -a), gradient of the first logit 0 or 1."""
    one, zero = np.ones((1, 1), np.float32), np.zeros(1, np.float32)
    nodes = (
        Node("z", Linear(one, zero), ("X",), (1,)),
        Node("a", Relu(), ("z",), (1,)),
        Node("s", Sign(), ("z",), (1,)),
        Node("m", Relu(), ("s",), (1,)),
        Node("Y", Scale(np.ones(1, np.float32), zero), ("m",), (1,)),
    )
    return Network("X", 1, nodes, "Y")


def test_toy_gap_is_proved_at_once(tmp_path):
    """The gradient is 0 or 1 and is asked to lie in [0.4, 0.6]."""
    low, high = float32_down(np.array([0.4]))[0], float32_up(np.array([0.6]))[0]
    clauses = (((Atom(0, ">=", constant=low),),), ((Atom(0, "<=", constant=high),),))
    prop = Property(-np.ones(1), np.ones(1), clauses, 1)
    path = tmp_path / "toy.onnx"
    path.write_bytes(to_bytes(to_model(toy_gap())))
    query = Query(path, toy_gap(), prop)
    assert tighten(query, root_node(query)) is None
    assert solve(query, Budget(5.0), Options()).verdict is Verdict.UNSAT


def test_bounds_survive_an_unbounded_range():
    """One-sided ranges are used for nothing they cannot carry."""
    network = toy_gap()
    from salver.nets.network import lower

    program = lower(network)
    prop = Property(-np.ones(1), np.ones(1), (((Atom(0, ">=", constant=0.5),),),), 1)
    bounds = tighten_backwards(program, prop, propagate(program, prop.input_lower, prop.input_upper))
    assert bounds.signs[0][0] == 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", [3, 7, 12, 21, 25, 30])
def test_several_processes_agree(seed, tmp_path):
    query = random_query(seed, tmp_path)
    alone = solve(query, Budget(20.0), Options())
    together = search_in_parallel(query, Budget(20.0), Options(threads=2), root_node(query))
    assert together.verdict is alone.verdict
    if together.witness is not None:
        assert query.confirm(together.witness) is not None


def test_the_time_limit_is_kept_by_every_process(tmp_path):
    query = random_query(3, tmp_path)
    budget = Budget(0.0)
    assert (
        search_in_parallel(query, budget, Options(threads=2), root_node(query)).verdict is Verdict.TIMED_OUT
    )
