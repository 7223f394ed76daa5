"""The campaign itself: a slice of it on `hybrid`, and that it catches solvers that lie."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from salver.judge.campaign import run_campaign, sample
from salver.judge.enumerate import enumerate_query
from salver.model import Truth
from salver.solvers.query import Budget, Options, Query, Result, Solver, Verdict
from tests.soundness.campaign import labelled, main
from tests.soundness.networks import FAULTS, STYLES
from tests.soundness.queries import KINDS, draw
from tests.soundness.variants import SOLVERS


@pytest.mark.parametrize("first", range(0, 150, 25))
def test_hybrid_is_right(first: int) -> None:
    campaign = run_campaign(labelled, SOLVERS["hybrid"], range(first, first + 25))
    assert not campaign.wrong, campaign.summary()
    clear = [f for f in campaign.findings if f.missed and f.clearance > 1e-3]
    assert not clear, campaign.summary()


LIBRARIES_ERR = {"milp": (233, 314, 397, 435, 836, 925, 1172), "marabou": (195, 424, 887)}
"""Seeds of queries that HiGHS 1.15 and Marabou 2.0, asked once, call unsat though a point satisfies them."""


@pytest.mark.parametrize(
    ("name", "seed"), [(name, s) for name, seeds in LIBRARIES_ERR.items() for s in seeds]
)
def test_where_a_library_alone_errs_the_solver_does_not(name: str, seed: int) -> None:
    campaign = run_campaign(labelled, SOLVERS[name], range(seed, seed + 1))
    assert Truth.UNSAT not in [finding.truth for finding in campaign.findings]
    assert not campaign.wrong, campaign.summary()


@pytest.mark.parametrize("name", ["without-attack", "to-the-bottom", "in-parallel"])
def test_the_parts_are_right(name: str) -> None:
    campaign = run_campaign(labelled, SOLVERS[name], range(1000, 1015 if name != "in-parallel" else 1005))
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
    campaign = run_campaign(labelled, always(Verdict.UNSAT), range(20))
    truths = Counter(finding.truth for finding in campaign.findings)
    assert truths[Truth.SAT] >= 3
    for finding in campaign.findings:
        if finding.truth is Truth.SAT:
            assert finding.complaint.startswith("unsat, but enumeration has a witness, which holds")
        if finding.truth is Truth.UNSAT:
            assert not finding.complaint


def test_an_unsat_that_only_a_sampled_point_refutes_is_caught() -> None:
    """On an edge enumeration says unknown; the centre may still satisfy the query exactly."""
    campaign = run_campaign(labelled, always(Verdict.UNSAT), range(56, 64))
    on_edges = [f for f in campaign.findings if f.truth is Truth.UNKNOWN and f.complaint]
    assert on_edges
    assert all("satisfies the query over the reals" in finding.complaint for finding in on_edges)


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
        campaign = run_campaign(labelled, solver, range(4))
        assert all(words in finding.complaint for finding in campaign.findings)
    campaign = run_campaign(labelled, anywhere, range(15))
    unsat = [finding for finding in campaign.findings if finding.truth is Truth.UNSAT]
    assert len(unsat) >= 5
    assert all("fails replay" in finding.complaint for finding in unsat)


def test_an_exception_is_wrong_and_unknown_is_not() -> None:
    def raises(query: Query, budget: Budget, options: Options) -> Result:
        raise ZeroDivisionError("oh")

    campaign = run_campaign(labelled, raises, range(3))
    assert [finding.complaint for finding in campaign.wrong] == ["raised ZeroDivisionError: oh"] * 3
    campaign = run_campaign(labelled, always(Verdict.UNKNOWN), range(12))
    assert not campaign.wrong
    for finding in campaign.findings:
        assert finding.missed == (finding.truth is Truth.UNSAT or finding.clearance > 1e-4)
    assert "because" in campaign.summary()


def test_processes_find_the_same() -> None:
    alone = run_campaign(labelled, SOLVERS["falsify"], range(4), budget_s=1.0)
    together = run_campaign(labelled, SOLVERS["falsify"], range(4), budget_s=1.0, jobs=2)
    fixed = {"seconds": 0.0, "truth_seconds": 0.0, "reason": ""}
    assert [f.model_copy(update=fixed) for f in alone.findings] == [
        f.model_copy(update=fixed) for f in together.findings
    ]


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--count", "4", "--seed", "7", "--solver", "milp"]) == 0
    assert "queries 4  wrong 0" in capsys.readouterr().out


def test_enumeration_agrees_with_a_shifted_copy(tmp_path: Path) -> None:
    """The oracle's own metamorphic test: no clause more, or a looser one, loses no witness."""
    for seed in range(6):
        query = draw(tmp_path, seed).query
        whole = enumerate_query(query.program, query.prop)
        fewer = enumerate_query(query.program, replace(query.prop, clauses=query.prop.clauses[1:]))
        assert fewer.margin >= whole.margin - 1e-7
        assert not (whole.truth is Truth.SAT and fewer.truth is Truth.UNSAT)


def test_samples_stay_in_the_box(tmp_path: Path) -> None:
    query = draw(tmp_path, 3).query
    points = sample(query, 0)
    assert (points >= query.prop.input_lower).all()
    assert (points <= query.prop.input_upper).all()
    assert len(np.unique(points, axis=0)) > 100
