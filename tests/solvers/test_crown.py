"""`crown` against the enumeration of all activation regions, and its bounds against samples."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from salver.core.errors import SalverError
from salver.explain.unroll import logit_combination, unroll
from salver.nets.network import evaluate
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.torch_bridge import from_torch
from salver.oracle.enumerate import enumerate_query
from salver.solvers.absolute import without_abs
from salver.solvers.crown.bounds import Bounder, Boxes
from salver.solvers.crown.graph import atom_rows, over_rows
from salver.solvers.crown.halfspaces import refute_together, tightened
from salver.solvers.crown.leaf import Leaf, likely_points
from salver.solvers.crown.lirpa import import_lirpa, is_release_03
from salver.solvers.crown.one_pass import bound
from salver.solvers.crown.operators import gate_planes, step_planes
from salver.solvers.crown.solver import CrownSearch, solve
from salver.solvers.query import Budget, Options, Query, Result, Verdict
from salver.spec.property import Atom, Clause, Property, box_clauses
from salver.spec.truth import Truth
from tests.builders.small_queries import bandit_query, random_query, relu_network, saliency_query, toy_gap


def decide(query: Query, seconds: float = 30.0) -> Result:
    result = solve(query, Budget(seconds), Options())
    if result.verdict is Verdict.SAT:
        assert result.witness is not None
        assert query.prop.inputs_inside(result.witness)
        assert query.prop.outputs_satisfied(query.replay(result.witness))
    return result


def query_of(folder: Path, module: nn.Module, size: int, box: tuple[float, float], *clauses: Clause) -> Query:
    network = unroll(from_torch(module, size), np.array([1.0]))
    path = folder / "query.onnx"
    path.write_bytes(to_bytes(to_model(network)))
    lower, upper = (np.full(size, side) for side in box)
    return Query(path, network, Property(lower, upper, clauses, network.output_size))


def one_relu() -> nn.Module:
    module = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1))
    for layer in (module[0], module[2]):
        layer.weight.data.fill_(1.0)
        layer.bias.data.zero_()
    return module


def no_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CrownSearch, "_attack", lambda *_: False)
    monkeypatch.setattr(CrownSearch, "_steps", lambda search, _: np.zeros((0, search.program.input_size)))


@pytest.mark.slow
@pytest.mark.parametrize("attack", [True, False])
def test_agrees_with_enumeration(attack: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not attack:
        no_attack(monkeypatch)
    seen = set()
    for seed in range(3) if attack else range(1000, 1005):
        query = random_query(tmp_path, seed)
        truth = enumerate_query(query.network, query.prop).truth
        verdict = decide(query).verdict
        assert truth is Truth.UNKNOWN or verdict.value == truth.value, seed
        seen.add(verdict)
    assert seen == {Verdict.SAT, Verdict.UNSAT}


@pytest.mark.slow
def test_disjunctions_of_conjunctions_agree_with_enumeration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_attack(monkeypatch)
    generator = np.random.default_rng(5)
    seen = set()
    for seed in range(1100, 1106):
        base = random_query(tmp_path, seed)
        first = base.prop.output_count - base.network.input_size
        centre = base.program.evaluate((base.prop.input_lower + base.prop.input_upper) / 2)[0][0]
        a, b = generator.integers(first, base.prop.output_count, 2).tolist()
        gap = float(generator.uniform(0.1, 2.0))
        clause = (
            (Atom(a, ">=", constant=centre[a] + gap), Atom(b, "<=", constant=centre[b])),
            (Atom(b, ">=", a), Atom(0, ">=", constant=centre[0] + gap), Atom(1, "<=", 0)),
        )
        prop = Property(base.prop.input_lower, base.prop.input_upper, (clause,), base.prop.output_count)
        query = Query(base.onnx, base.network, prop)
        truth = enumerate_query(query.network, prop).truth
        verdict = decide(query).verdict
        assert truth is Truth.UNKNOWN or verdict.value == truth.value, seed
        seen.add(verdict)
    assert seen == {Verdict.SAT, Verdict.UNSAT}


@pytest.mark.slow
def test_leaves_alone_decide_without_half_spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With joint refutation switched off the linear programs at the leaves must do its work."""
    no_attack(monkeypatch)

    def nothing(normal: torch.Tensor, *_: object) -> tuple[torch.Tensor, ...]:
        batch, count, size = normal.shape
        return torch.ones(batch), torch.full((batch, count), 1.0 / count), torch.zeros(batch, size)

    monkeypatch.setattr("salver.solvers.crown.one_pass.refute_together", nothing)
    for seed in range(1020, 1024):
        query = random_query(tmp_path, seed)
        truth = enumerate_query(query.network, query.prop).truth
        assert truth is Truth.UNKNOWN or decide(query).verdict.value == truth.value, seed


@pytest.mark.slow
def test_bandit_delta_star(data_dir: Path, tmp_path: Path) -> None:
    """delta* = 1.1665 by enumeration of all regions."""
    verdicts = {delta: decide(bandit_query(data_dir, tmp_path, delta)).verdict for delta in (0.5, 1.16, 1.17)}
    assert verdicts == {0.5: Verdict.UNSAT, 1.16: Verdict.UNSAT, 1.17: Verdict.SAT}


@pytest.mark.slow
def test_toy_gap_is_closed_by_one_split(tmp_path: Path) -> None:
    result = decide(toy_gap(tmp_path))
    assert result.verdict is Verdict.UNSAT
    assert result.reason.startswith("3 subproblems, 0 linear programs")


def test_points_on_the_boundary_alone_are_never_a_verdict(tmp_path: Path) -> None:
    """On [-1, 0] the closed mask may be 1 at z = 0 only; the strict mask never is."""
    query = query_of(tmp_path, one_relu(), 1, (-1.0, 0.0), *box_clauses(1, np.array([0.5]), np.array([2.0])))
    assert decide(query).verdict is Verdict.UNKNOWN


def test_a_point_box_at_zero_follows_the_strict_mask(tmp_path: Path) -> None:
    query = query_of(tmp_path, one_relu(), 1, (0.0, 0.0), *box_clauses(1, np.array([0.5]), np.array([2.0])))
    assert decide(query).verdict is Verdict.UNSAT


@pytest.mark.parametrize(
    ("clauses", "expected"),
    [
        ((), Verdict.SAT),
        (((),), Verdict.UNSAT),
        (((((),)),), Verdict.SAT),
        ((((Atom(0, ">=", constant=3.0),),),), Verdict.UNSAT),
        ((((Atom(0, ">=", constant=0.5),), (Atom(0, "<=", constant=-1.0),)),), Verdict.SAT),
    ],
    ids=["no clause", "no conjunction", "no atom", "logits only", "a disjunct that is impossible"],
)
def test_unusual_properties(clauses: tuple[Clause, ...], expected: Verdict, tmp_path: Path) -> None:
    assert decide(query_of(tmp_path, one_relu(), 1, (-1.0, 1.0), *clauses)).verdict is expected


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["raw", "abs"])
def test_convolutional_network(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(7)
    module = nn.Sequential(
        nn.Unflatten(1, (1, 3, 3)), nn.Conv2d(1, 1, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(),
        nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2),
    )  # fmt: skip
    no_attack(monkeypatch)
    classifier = from_torch(module, 9)
    centre = np.random.default_rng(0).uniform(0.0, 1.0, 9)
    seen = set()
    for reach, delta in ((0.1, 0.01), (0.9, 0.01), (0.9, 0.6)):
        box = (centre - reach, centre + reach)
        query = saliency_query(tmp_path, classifier, centre, box, delta, "abs" if kind == "abs" else "raw")
        verdict = decide(query).verdict
        assert verdict.value == enumerate_query(query.network, query.prop).truth.value
        seen.add(verdict)
    assert seen == {Verdict.SAT, Verdict.UNSAT}


@pytest.mark.slow
def test_bounds_hold_on_samples_of_every_subproblem() -> None:
    """Samples that follow the splits stay inside box, bounds and half-spaces of their subproblem."""
    generator = np.random.default_rng(0)
    for seed in range(2):
        network = unroll(relu_network([3, 7, 6, 2], generator), logit_combination(2, seed % 2), "abs")
        prop = Property(-np.ones(3), np.ones(3), box_clauses(0, -np.full(5, 50.0), np.full(5, 50.0)), 5)
        query = Query(Path(), network, prop)
        rows = atom_rows(prop)
        program = over_rows(without_abs(query.program), rows)
        bounder = Bounder(program, rows, "cpu")
        points = generator.uniform(-1.0, 1.0, (2000, 3))
        outputs, zs, values = program.evaluate(points)
        actual = {("output", 0): outputs, **{("pre", k): z for k, z in enumerate(zs)}}
        for number in bounder.values:
            actual["value", number] = program.blocks[number].value.evaluate(values)  # type: ignore[union-attr]
        vectors = np.concatenate([actual[stage.kind, stage.number] for stage in bounder.stages], axis=1)
        boxes = bounder.root(prop.input_lower, prop.input_upper)
        for _ in range(5):
            bounded = bound(bounder, boxes, Budget(60.0))
            signs = bounded.boxes.signs.numpy()
            for index in range(len(signs)):
                inside = ((vectors * signs[index] > 0) | (signs[index] == 0)).all(1)
                assert not (inside.any() and bounded.refuted[index])
                box = bounded.boxes
                assert (vectors[inside] >= box.low[index].numpy()).all()
                assert (vectors[inside] <= box.high[index].numpy()).all()
                assert (points[inside] >= box.lower[index].numpy()).all()
                assert (points[inside] <= box.upper[index].numpy()).all()
            boxes = children(bounded.boxes, bounded.scores.argmax(1))


def children(boxes: Boxes, split: torch.Tensor) -> Boxes:
    both = []
    for sign in (1, -1):
        signs = boxes.signs.clone()
        signs[torch.arange(len(signs)), split] = sign
        both.append(Boxes(boxes.lower, boxes.upper, boxes.low, boxes.high, signs))
    return Boxes(
        *(
            torch.cat([getattr(box, name) for box in both])
            for name in ("lower", "upper", "low", "high", "signs")
        )
    )


def test_planes_hold_for_both_masks_at_zero() -> None:
    generator = torch.Generator().manual_seed(0)
    low = -torch.rand(500, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 1e-5]).repeat(250)
    high = torch.rand(500, generator=generator, dtype=torch.float64)
    (slope, shift), (above_slope, above_shift) = step_planes(low, high)
    for z, mask in ((low, 0.0), (high, 1.0), (0 * low, 0.0), (0 * low, 1.0), (low / 3, 0.0), (high / 3, 1.0)):
        assert (slope * z + shift <= mask + 1e-12).all()
        assert (above_slope * z + above_shift >= mask - 1e-12).all()
    ones, zeros = torch.ones_like(low), torch.zeros_like(low)
    for mostly_on in (ones > 0, ones < 0):
        below, above = gate_planes(zeros, ones, low, high, mostly_on)
        for mask in (0.0, 1.0):
            for value in (low, high, (low + high) / 2):
                assert (below[0] * mask + below[1] * value + below[2] <= mask * value + 1e-12).all()
                assert (above[0] * mask + above[1] * value + above[2] >= mask * value - 1e-12).all()


def test_half_spaces_refute_together_what_none_refutes_alone() -> None:
    lower, upper = -torch.ones(1, 2, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64)
    normal = torch.tensor([[[1.0, 1.0], [-1.0, 1.0], [0.0, -1.0]]], dtype=torch.float64)
    shift = torch.tensor([[-0.5, -0.5, 0.4]], dtype=torch.float64)
    for k in range(3):
        assert refute_together(normal[:, k : k + 1], shift[:, k : k + 1], lower, upper, 50)[0] > 0
    assert refute_together(normal, shift, lower, upper, 50)[0] < 0
    shift[0, 2] = 0.6
    assert refute_together(normal, shift, lower, upper, 50)[0] > 0


def test_tightened_boxes_keep_every_point_of_the_half_spaces() -> None:
    generator = np.random.default_rng(1)
    normal, shift = generator.normal(size=(1, 4, 3)), generator.normal(size=(1, 4)) + 0.5
    box = torch.full((1, 3), 1.0, dtype=torch.float64)
    lower, upper, empty = tightened(torch.tensor(normal), torch.tensor(shift), -box, box)
    points = generator.uniform(-1.0, 1.0, (20000, 3))
    kept = points[(points @ normal[0].T + shift[0] >= 0).all(1)]
    assert len(kept) > 0
    assert not empty
    assert (kept >= lower.numpy()).all()
    assert (kept <= upper.numpy()).all()
    assert (lower > -box).any() or (upper < box).any()
    assert tightened(torch.tensor(normal), torch.tensor(shift) - 50.0, -box, box)[2]


def test_a_leaf_has_a_likely_point_whatever_the_scale() -> None:
    """x >= a and x <= b with a just below b."""
    for scale in (2.0**-40, 1.0, 2.0**40):
        rows = np.array([[1.0], [-1.0]])
        leaf = Leaf(rows, np.zeros(2), ())
        shifts = np.array([-0.5 + 1e-6, 0.5]) * scale
        points = likely_points(leaf, rows, shifts, np.zeros(1), np.full(1, scale), 10.0)
        assert abs(points[0][0] / scale - 0.5) < 1e-5


def raises(*_: object, **__: object) -> None:
    raise ArithmeticError("the back end")


@pytest.mark.slow
@pytest.mark.parametrize(
    "part", ["salver.solvers.crown.one_pass.linear_bounds", "salver.solvers.crown.leaf.linprog"]
)
def test_an_exception_of_a_back_end_is_split_on(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part, raises)
    for seed in range(5):
        query = random_query(tmp_path, seed)
        verdict = solve(query, Budget(20.0), Options()).verdict
        truth = enumerate_query(query.network, query.prop).truth
        assert verdict.value in ("unknown", truth.value)


@pytest.mark.slow
def test_without_a_certificate_a_leaf_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The word of the linear program solver closes nothing."""
    monkeypatch.setattr("salver.solvers.crown.one_pass.linear_bounds", raises)
    queries = [random_query(tmp_path, seed) for seed in (0, 3)]
    for query in queries:
        assert solve(query, Budget(20.0), Options()).verdict is Verdict.UNSAT
    monkeypatch.setattr("salver.solvers.hybrid.linear.LinearRelaxation.refuted", raises)
    monkeypatch.setattr("salver.solvers.crown.leaf.build", lambda *_, **__: object())
    monkeypatch.setattr("salver.solvers.crown.leaf.LinearRelaxation", raises)
    for query in queries:
        assert solve(query, Budget(20.0), Options()).verdict is Verdict.UNKNOWN


def test_a_graph_that_cannot_be_traced_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("salver.solvers.crown.bounds.bounded_graph", raises)
    verdicts = {solve(random_query(tmp_path, seed), Budget(20.0), Options()).verdict for seed in range(6)}
    assert verdicts <= {Verdict.SAT, Verdict.UNKNOWN}


def test_timeout_is_an_answer(data_dir: Path, tmp_path: Path) -> None:
    result = solve(bandit_query(data_dir, tmp_path, 0.5), Budget(0.0), Options())
    assert result.verdict is Verdict.TIMED_OUT


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_missing_cuda_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(SalverError, match="CUDA is not available to torch; use --device cpu"):
        solve(toy_gap(tmp_path), Budget(10.0), Options(device="cuda"))


def test_leaves_the_settings_of_torch_alone(tmp_path: Path) -> None:
    before = (torch.get_num_threads(), torch.get_default_dtype(), list(warnings.filters))
    solve(toy_gap(tmp_path), Budget(10.0), Options(threads=1))
    assert (torch.get_num_threads(), torch.get_default_dtype(), list(warnings.filters)) == before


def test_auto_lirpa_writes_nothing_to_stdout(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    decide(toy_gap(tmp_path))
    logging.getLogger("auto_LiRPA").warning("no handler of auto_LiRPA's own may print this to stdout")
    assert capsys.readouterr().out == ""
    assert not [h for h in logging.getLogger().handlers if getattr(h, "stream", None) is sys.stdout]


def test_version_of_auto_lirpa_is_known() -> None:
    lirpa = import_lirpa()
    assert is_release_03(lirpa) is (lirpa.__version__ == "0.3")


def test_without_abs_is_the_same_function() -> None:
    generator = np.random.default_rng(2)
    network = unroll(relu_network([4, 5, 2], generator), logit_combination(2, 1), "abs")
    points = generator.normal(size=(50, 4))
    query = Query(Path(), network, Property(-np.ones(4), np.ones(4), (), 6))
    rewritten = without_abs(query.program).evaluate(points)[0]
    assert np.allclose(rewritten, query.program.evaluate(points)[0], atol=1e-12)
    assert np.allclose(rewritten, evaluate(network, points.astype(np.float32)), atol=1e-4)
