"""The campaign itself: a slice of it on `hybrid`, and that it catches solvers that lie."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments.soundness.campaign import (
    exact_text,
    main,
)
from experiments.soundness.examine import examine, run_campaign, sample
from experiments.soundness.maps import draw_maps
from experiments.soundness.networks import FAULTS, STYLES
from experiments.soundness.products import FORMS, draw_products
from experiments.soundness.queries import KINDS, TOUCHING, draw
from experiments.soundness.variants import SOLVERS
from experiments.soundness.wide import SCALES, draw_wide
from salver.explain.explanation import METHODS
from salver.families.questions import QUESTIONS
from salver.nets.operators import Node, Scale
from salver.oracle.enumerate import Enumeration, enumerate_query
from salver.solvers.arguments import parts_left_out
from salver.solvers.query import Budget, Options, Query, Result, Solver, Verdict
from salver.solvers.registry import embedded_solver
from salver.spec import parse_vnnlib
from salver.spec.truth import Truth


@pytest.mark.parametrize("first", range(0, 75, 25))
def test_hybrid_is_right(first: int) -> None:
    campaign = run_campaign(draw, SOLVERS["hybrid"], range(first, first + 25))
    assert not campaign.wrong, campaign.summary()
    clear = [f for f in campaign.findings if f.missed and f.robust]
    assert not clear, campaign.summary()


@pytest.mark.parametrize(("parts", "first"), [("", 0), ("attack", 20), ("attack,relaxation,backend", 40)])
def test_hybrid_is_right_whatever_the_scale(parts: str, first: int) -> None:
    """Each on queries of its own."""
    options = Options(without=parts_left_out(embedded_solver("hybrid"), parts))
    campaign = run_campaign(draw_wide, SOLVERS["hybrid"], range(first, first + 20), options=options)
    assert not campaign.wrong, campaign.summary()
    truths = Counter(finding.truth for finding in campaign.findings)
    assert truths[Truth.SAT] >= 5, campaign.summary()
    assert truths[Truth.UNSAT] >= 5, campaign.summary()


@pytest.mark.parametrize("name", ["milp", "milp-scip", "crown"])
def test_other_solvers_are_right_whatever_the_scale(name: str) -> None:
    campaign = run_campaign(draw_wide, SOLVERS[name], range(12))
    assert not campaign.wrong, campaign.summary()


@pytest.mark.parametrize("name", ["without-attack", "milp", "crown"])
def test_products_are_decided_right(name: str) -> None:
    campaign = run_campaign(draw_products, SOLVERS[name], range(len(FORMS)), budget_s=5.0)
    assert not campaign.wrong, campaign.summary()
    assert {finding.label.split()[0] for finding in campaign.findings} == set(FORMS)


def test_every_method_and_question_is_decided_right() -> None:
    """Each method once, the questions in turn."""
    methods, questions = sorted(METHODS.known), sorted(QUESTIONS.known)
    seeds = [place + len(methods) * (place % len(questions)) for place in range(len(methods))]
    campaign = run_campaign(draw_maps, SOLVERS["without-attack"], seeds, budget_s=5.0)
    assert not campaign.wrong, campaign.summary()
    asked = [finding.label.split()[:2] for finding in campaign.findings]
    assert [one for one, _ in asked] == methods
    assert {one for _, one in asked} == set(questions)


LIBRARIES_ERR = {"milp": (233, 314, 397, 435, 836, 925, 1172), "marabou": (195, 424, 887)}
"""Seeds of queries that HiGHS 1.15 and Marabou 2.0, asked once, call unsat though a point satisfies them."""


@pytest.mark.parametrize(
    ("name", "seed"), [(name, s) for name, seeds in LIBRARIES_ERR.items() for s in seeds]
)
def test_where_a_library_alone_errs_the_solver_does_not(name: str, seed: int) -> None:
    campaign = run_campaign(draw, SOLVERS[name], range(seed, seed + 1))
    assert Truth.UNSAT not in [finding.truth for finding in campaign.findings]
    assert not campaign.wrong, campaign.summary()


@pytest.mark.parametrize(
    "name", ["without-attack", "to-the-bottom", "in-parallel", "by-boxes", "by-small-boxes"]
)
def test_the_parts_are_right(name: str) -> None:
    campaign = run_campaign(draw, SOLVERS[name], range(1000, 1015 if name != "in-parallel" else 1005))
    assert not campaign.wrong, campaign.summary()


def test_queries_vary_and_repeat(tmp_path: Path) -> None:
    cases = [draw(tmp_path, seed) for seed in range(150)]
    assert {case.kind for case in cases} == set(KINDS)
    assert {case.style for case in cases} == set(STYLES)
    assert {case.map for case in cases} == {"raw", "abs"}
    traits = Counter(trait for case in cases for trait in case.traits)
    special = ("conv", "residual", "degenerate", "kink-at-centre", "difference")
    assert set(traits) == {*special, *FAULTS}
    for case in cases[:20]:
        again = draw(tmp_path, case.seed).query
        assert again.network.sha256() == case.query.network.sha256()
        assert again.prop.same_query(case.query.prop)


def always(verdict: Verdict) -> Solver:
    return lambda query, budget, options: Result(verdict, reason="because")


def test_an_unsat_that_is_none_is_caught() -> None:
    campaign = run_campaign(draw, always(Verdict.UNSAT), range(20))
    truths = Counter(finding.truth for finding in campaign.findings)
    assert truths[Truth.SAT] >= 3
    for finding in campaign.findings:
        if finding.truth is Truth.SAT:
            assert finding.complaint.startswith("unsat, but")
        if finding.truth is Truth.UNSAT:
            assert not finding.complaint


def test_an_unsat_that_only_a_sampled_point_refutes_is_caught(tmp_path: Path) -> None:
    """A query may be too large for enumeration; a sampled point may still satisfy it exactly."""
    too_large, complaints = Enumeration(Truth.UNKNOWN), []
    for seed in range(12):
        query = draw(tmp_path, seed).query
        complaints.append(examine(query, Result(Verdict.UNSAT), too_large).complaint)
    assert any("satisfies the query over the reals" in complaint for complaint in complaints)
    assert "" in complaints


def test_a_sat_that_is_none_is_caught() -> None:
    def no_witness(query: Query, budget: Budget, options: Options) -> Result:
        return Result(Verdict.SAT)

    def outside(query: Query, budget: Budget, options: Options) -> Result:
        return Result(Verdict.SAT, query.prop.input_upper + 1.0)

    def not_binary32(query: Query, budget: Budget, options: Options) -> Result:
        low, high = query.prop.input_lower, query.prop.input_upper
        return Result(Verdict.SAT, low + (high - low) / 3)

    def anywhere(query: Query, budget: Budget, options: Options) -> Result:
        return Result(Verdict.SAT, query.clip(sample(query, 0)[7]))

    for solver, words in ((no_witness, "without"), (outside, "outside"), (not_binary32, "binary32")):
        campaign = run_campaign(draw, solver, range(4))
        assert all(words in finding.complaint for finding in campaign.findings)
    campaign = run_campaign(draw, anywhere, range(15))
    unsat = [finding for finding in campaign.findings if finding.truth is Truth.UNSAT]
    assert len(unsat) >= 5
    assert all("fails replay" in finding.complaint for finding in unsat)


def test_an_exception_is_wrong_and_unknown_is_not() -> None:
    def raises(query: Query, budget: Budget, options: Options) -> Result:
        raise ZeroDivisionError("oh")

    campaign = run_campaign(draw, raises, range(3))
    assert [finding.complaint for finding in campaign.wrong] == ["raised ZeroDivisionError: oh"] * 3
    campaign = run_campaign(draw, always(Verdict.UNKNOWN), range(12))
    assert not campaign.wrong
    for finding in campaign.findings:
        assert not finding.missed or finding.truth is Truth.UNSAT or finding.robust
        assert finding.cause in ("tie", "other")
    assert "because" in campaign.summary()


def test_processes_find_the_same() -> None:
    alone = run_campaign(draw, SOLVERS["falsify"], range(4), budget_s=1.0)
    together = run_campaign(draw, SOLVERS["falsify"], range(4), budget_s=1.0, jobs=2)
    fixed = {"seconds": 0.0, "truth_seconds": 0.0, "reason": ""}
    assert [f.model_copy(update=fixed) for f in alone.findings] == [
        f.model_copy(update=fixed) for f in together.findings
    ]


def test_wide_queries_have_every_trait(tmp_path: Path) -> None:
    cases = [draw_wide(tmp_path, seed) for seed in range(120)]
    traits = {trait for case in cases for trait in case.traits}
    assert traits >= {*SCALES, *FAULTS, TOUCHING, "tie", "fixed", "conv", "residual"}
    widths = [(case.query.prop.input_upper - case.query.prop.input_lower).max() for case in cases]
    assert min(widths) < 1e-4
    assert max(widths) > 1e2
    again = draw_wide(tmp_path, 7).query
    assert again.prop.same_query(cases[7].query.prop)


def test_a_query_is_written_as_it_is(tmp_path: Path) -> None:
    prop = draw_wide(tmp_path, 13).query.prop
    assert parse_vnnlib(exact_text(prop)).same_query(prop)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--count", "4", "--seed", "7", "--solver", "milp", "--folder", str(tmp_path)]
    assert main(asked) == 0
    assert "queries 4  wrong 0" in capsys.readouterr().out
    [stored] = tmp_path.glob("*.jsonl")
    assert len(stored.read_text().splitlines()) == 4
    assert main([*asked, "--count", "5"]) == 0
    assert "queries 5  wrong 0" in capsys.readouterr().out
    assert len(stored.read_text().splitlines()) == 5
    assert main(["--count", "1", "--without", "attack", "--solver", "milp"]) == 2


def test_command_stops_at_a_wrong_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOLVERS, "milp", always(Verdict.UNSAT))
    assert main(["--count", "40", "--solver", "milp", "--folder", str(tmp_path)]) == 1
    [query] = tmp_path.glob("*.vnnlib")
    assert query.with_suffix(".onnx").exists()
    [stored] = tmp_path.glob("*.jsonl")
    assert len(stored.read_text().splitlines()) < 40


@pytest.mark.parametrize("exponent", [-40, 40])
def test_regions_do_not_feel_the_scale(tmp_path: Path, exponent: int) -> None:
    """Outputs and thresholds times a power of two: not one linear program more or less."""
    for seed in range(10):
        query = draw(tmp_path, seed).query
        factor = 2.0**exponent
        nodes = (
            *query.network.nodes,
            Node("scaled", Scale(np.float32([factor]), np.float32([0])), (query.network.output,),
                 (query.network.output_size,)),
        )  # fmt: skip
        network = replace(query.network, nodes=nodes, output="scaled")
        clauses = tuple(
            tuple(tuple(replace(atom, constant=atom.constant * factor) for atom in part) for part in clause)
            for clause in query.prop.clauses
        )
        small = enumerate_query(network, replace(query.prop, clauses=clauses))
        whole = enumerate_query(query.network, query.prop)
        assert (small.truth, small.programs) == (whole.truth, whole.programs)


def test_enumeration_agrees_with_a_shifted_copy(tmp_path: Path) -> None:
    """The oracle's own metamorphic test: no clause more, or a looser one, loses no witness."""
    for seed in range(6):
        query = draw(tmp_path, seed).query
        whole = enumerate_query(query.network, query.prop)
        fewer = enumerate_query(query.network, replace(query.prop, clauses=query.prop.clauses[1:]))
        assert not (whole.truth is Truth.SAT and fewer.truth is Truth.UNSAT)


def test_samples_stay_in_the_box(tmp_path: Path) -> None:
    query = draw(tmp_path, 3).query
    points = sample(query, 0)
    assert (points >= query.prop.input_lower).all()
    assert (points <= query.prop.input_upper).all()
    assert len(np.unique(points, axis=0)) > 100
