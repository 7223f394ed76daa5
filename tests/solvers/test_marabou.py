"""Marabou against the oracle, its encoding, and the process it runs in."""

from __future__ import annotations

import importlib.util
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from salver.families.registry import generators
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.torch_bridge import from_torch
from salver.oracle.enumerate import enumerate_query
from salver.solvers.absolute import without_abs
from salver.solvers.bounding.propagation import propagate
from salver.solvers.marabou.child import LinearQuery
from salver.solvers.marabou.encoding import Margin, encode
from salver.solvers.marabou.scaling import REACHES, distinguishable, scaled
from salver.solvers.marabou.solver import run, solve
from salver.solvers.query import Budget, Options, Query, Verdict
from salver.spec.property import Atom, Property, box_clauses
from salver.spec.truth import Truth
from tests.builders.small_queries import bandit_query, random_query, relu_network, saliency_query, toy_gap

pytestmark = pytest.mark.skipif(importlib.util.find_spec("maraboupy") is None, reason="no maraboupy here")

QUICK = (0, 1, 2, 3, 6, 8, 9, 10, 11, 14, 16, 17, 18, 19, 20, 21, 22, 23)
"""Seeds whose networks have at most some 30 activation regions."""


def verdict_of(query: Query) -> Verdict:
    result = solve(query, Budget(60.0), Options())
    if result.verdict is Verdict.SAT:
        assert result.witness is not None
        assert query.confirm(result.witness) is not None
    return result.verdict


def problem_of(query: Query, margin: Margin | None = None) -> LinearQuery | None:
    program = without_abs(query.program)
    bounds = propagate(program, query.prop.input_lower, query.prop.input_upper, method="interval")
    return encode(program, query.prop, bounds, margin)


def hard_query(folder: Path) -> Query:
    """Takes Marabou minutes."""
    classifier = relu_network([8, 40, 40, 3], np.random.default_rng(0), gain=1.5)
    return saliency_query(folder, classifier, np.zeros(8), (-np.ones(8), np.ones(8)), 0.05)


def alive_below(process: psutil.Process) -> list[psutil.Process]:
    return [child for child in process.children() if child.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.slow
def test_agrees_with_the_oracle(tmp_path: Path) -> None:
    seen = set()
    for seed in QUICK:
        query = random_query(tmp_path, seed)
        answer = enumerate_query(query.network, query.prop)
        verdict = verdict_of(query)
        if answer.clear:
            assert verdict.value == answer.truth.value, f"seed {seed}"
        seen.add(verdict)
    assert seen >= {Verdict.SAT, Verdict.UNSAT}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_agrees_with_the_oracle_on_a_convolution(tmp_path: Path, seed: int) -> None:
    torch.manual_seed(seed)
    layers = [torch.nn.Unflatten(1, (1, 3, 3)), torch.nn.Conv2d(1, 2, 2), torch.nn.ReLU(), torch.nn.Flatten()]
    classifier = from_torch(torch.nn.Sequential(*layers, torch.nn.Linear(8, 2)), 9)
    centre = np.linspace(-0.5, 0.5, 9)
    for delta in (0.01, 0.3):
        query = saliency_query(tmp_path, classifier, centre, (centre - 0.5, centre + 0.5), delta)
        verdict = verdict_of(query).value
        assert verdict == enumerate_query(query.network, query.prop).truth.value
        assert verdict == {2: "unsat", 3: "sat"}[seed]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("delta", "verdict"), [(0.5, "unsat"), (1.0, "unsat"), (1.16, "unsat"), (1.17, "sat"), (1.5, "sat")]
)
def test_bandit(data_dir: Path, tmp_path: Path, delta: float, verdict: str) -> None:
    assert verdict_of(bandit_query(data_dir, tmp_path, delta)).value == verdict


@pytest.mark.slow
def test_gradient_of_one_relu_takes_no_value_in_between(tmp_path: Path) -> None:
    assert verdict_of(toy_gap(tmp_path)) is Verdict.UNSAT
    assert verdict_of(toy_gap(tmp_path, 0.4, 1.0)) is Verdict.SAT
    assert verdict_of(toy_gap(tmp_path, 1.0, 1.0)) is Verdict.SAT


@pytest.mark.slow
def test_margins_prove_nothing(tmp_path: Path) -> None:
    """The gradient is 1 on (0, 1e-7], inside both margins, and 0 at 0 itself."""
    query = toy_gap(tmp_path, 1.0, 1.0)
    for upper, possible in ((1e-7, {Verdict.SAT, Verdict.UNKNOWN}), (0.0, {Verdict.UNKNOWN, Verdict.UNSAT})):
        box = np.array([np.float32(upper)], np.float64)
        prop = Property(np.minimum(box - 1.0, 0.0) * (upper == 0.0), box, query.prop.clauses, 2)
        assert verdict_of(Query(query.onnx, query.network, prop)) in possible


@pytest.mark.slow
def test_conjunctions_inside_a_disjunction(tmp_path: Path) -> None:
    query = random_query(tmp_path, 2)
    low, high = query.prop.input_lower, query.prop.input_upper
    outputs = query.program.evaluate(np.random.default_rng(0).uniform(low, high, (4000, len(low))))[0]
    first = float(np.quantile(outputs[:, 0], 0.9)) - 0.05
    second = float(np.quantile(outputs[:, 1], 0.1)) - 0.05
    above, below = (Atom(0, ">=", constant=first),), (Atom(0, "<=", constant=first - 1e-3),)
    reachable = (*above, Atom(1, ">=", constant=second))
    never = (Atom(0, ">=", constant=1e3), Atom(1, "<=", constant=0.0))
    for clauses in (((reachable, never),), ((never, never),), ((above,), (below, never)), ((above, below),)):
        prop = Property(low, high, clauses, query.prop.output_count)
        asked = Query(query.onnx, query.network, prop)
        assert verdict_of(asked).value == enumerate_query(asked.network, prop).truth.value


@pytest.mark.slow
def test_every_evaluated_point_is_a_solution_of_the_problem(tmp_path: Path) -> None:
    """The encoding relaxes the network; a narrow box or narrow outputs must not make Marabou say unsat."""
    asked = 0
    for seed in range(6):
        query = random_query(tmp_path, seed)
        low, high = query.prop.input_lower, query.prop.input_upper
        x = np.random.default_rng(seed).uniform(low, high)
        outputs = query.program.evaluate(x)[0][0]
        for radius in (np.inf, 1e-7, 0.0, np.arange(len(x)) % 2 * 1e-3):
            box = np.maximum(low, x - radius), np.minimum(high, x + radius)
            prop = Property(*box, box_clauses(0, outputs, outputs), len(outputs))
            problem = problem_of(Query(query.onnx, query.network, prop))
            assert problem is not None
            answers = (run(scaled(problem, unit), Budget(30.0)) for unit in REACHES)
            assert any(answer and answer["verdict"] == "sat" for answer in answers), f"{seed}, {radius}"
            asked += bool(problem.disjunctions)
    assert asked


def test_answers_of_a_margin_query_keep_the_margin(tmp_path: Path) -> None:
    query = toy_gap(tmp_path, 1.0, 1.0)
    problem = problem_of(Query(query.onnx, query.network, replace(query.prop, clauses=())), Margin(0.25, 0.0))
    assert problem is not None
    answer = run(scaled(problem, REACHES[0]), Budget(30.0))
    assert answer is not None
    assert abs(answer["x"][0]) >= 0.25 - 1e-6


@pytest.mark.parametrize("unit", REACHES)
def test_every_variable_reaches_about_equally_far(tmp_path: Path, unit: int) -> None:
    for seed in range(6):
        found = problem_of(random_query(tmp_path, seed))
        if found is None:
            continue
        problem = scaled(found, unit)
        problem.check()
        reach = np.maximum(np.abs(problem.lower), np.abs(problem.upper))
        in_relu = [variable for pair in problem.relus for variable in pair]
        assert (reach < 2.0**unit).all()
        assert (np.delete(reach, in_relu) >= 2.0 ** (unit - 1)).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "broken",
    [
        {"lower": [float("nan"), 0.0]},
        {"upper": [1.0, float("inf")]},
        {"lower": [2.0, 0.0]},
        {"equations": [([1.0, 1.0], [0, 0], 0.0)]},
        {"equations": [([float("nan")], [0], 0.0)]},
        {"disjunctions": [[[(0, "<=", float("nan"))]]]},
    ],
)
def test_what_marabou_gets_wrong_is_refused(broken: dict[str, object]) -> None:
    sound = LinearQuery([(1.0, 0.0)], [0.0, 0.0], [1.0, 1.0], [([1.0, -1.0], [0, 1], 0.0)], [], [])
    sound.check()
    answer = run(replace(sound, **broken), Budget(30.0))
    assert answer is not None
    assert answer["verdict"].startswith("with status 1: ValueError")


def test_an_unsat_beyond_the_tolerances_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("salver.solvers.marabou.solver.run", lambda *_: {"verdict": "unsat"})
    query = toy_gap(tmp_path)
    assert solve(query, Budget(10.0), Options()).verdict is Verdict.UNSAT
    monkeypatch.setattr("salver.solvers.marabou.solver.distinguishable", lambda _: False)
    assert solve(query, Budget(10.0), Options()).verdict is Verdict.UNKNOWN


def test_what_tolerances_cannot_tell_apart_is_noticed() -> None:
    clear = LinearQuery([(1.0, 0.0)], [0.0, -1.0], [1.0, 1.0], [([1.0, -1e-3], [0, 1], 0.0)], [], [])
    assert distinguishable(clear)
    assert not distinguishable(replace(clear, equations=[([1.0, -1e-11], [0, 1], 0.0)]))
    assert not distinguishable(replace(clear, lower=[1.0 - 1e-6, -1.0]))
    assert distinguishable(replace(clear, lower=[1.0, -1.0]))


def test_a_process_that_fails_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("salver.solvers.marabou.solver.run", lambda *_: {"verdict": "with status -6: oh"})
    result = solve(toy_gap(tmp_path), Budget(10.0), Options())
    assert (result.verdict, result.reason) == (Verdict.UNKNOWN, "Marabou answered with status -6: oh")


@pytest.mark.slow
def test_the_process_is_killed_when_the_budget_ends(tmp_path: Path) -> None:
    before = set(alive_below(psutil.Process()))
    result = solve(hard_query(tmp_path), Budget(1.0), Options())
    assert result.verdict is Verdict.TIMED_OUT
    assert not set(alive_below(psutil.Process())) - before
    assert solve(hard_query(tmp_path), Budget(0.0), Options()).verdict is Verdict.TIMED_OUT


@pytest.mark.slow
def test_the_process_dies_with_its_parent(tmp_path: Path) -> None:
    (tmp_path / "problem").write_bytes(pickle.dumps(problem_of(hard_query(tmp_path))))
    code = (
        "import pickle, sys\nfrom salver.solvers.marabou.solver import run\n"
        "from salver.solvers.query import Budget\nrun(pickle.load(open(sys.argv[1], 'rb')), Budget(60.0))"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "problem")]) as parent:
        watched = psutil.Process(parent.pid)
        while not (children := alive_below(watched)) or children[0].cpu_times().user < 0.3:
            assert parent.poll() is None
        parent.send_signal(signal.SIGKILL)
    assert not psutil.wait_procs(children, timeout=10)[1]


@pytest.mark.slow
def test_known_points_are_not_refuted(tmp_path: Path) -> None:
    """Trained networks, with dead neurons and wide ranges, on which one unit alone gave a false `unsat`."""
    family = generators()["vg_box"]
    options = {"network": "digits-16x16", "points": 4, "epsilons": [0.08], "delta_factors": [1.1]}
    for number, draft in enumerate(family().instances(family.parameters.model_validate(options), 0)):
        path = tmp_path / f"{number}.onnx"
        path.write_bytes(to_bytes(to_model(draft.graph)))
        query = Query(path, draft.graph, draft.prop)
        assert draft.facts.expected is Truth.SAT
        assert solve(query, Budget(30.0), Options()).verdict is Verdict.SAT
