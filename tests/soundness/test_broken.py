"""Broken solvers are caught: by a campaign, by the judge, and by the proof checker."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from experiments.soundness.broken import MUTANTS, caught, correct, swapped_lines
from experiments.soundness.proofs import accepted
from experiments.soundness.queries import draw
from experiments.soundness.stated import read_again
from salver.judge.judgement import Outcome
from salver.judge.verdicts import judge
from salver.judge.witness import replay
from salver.oracle.enumerate import enumerate_query
from salver.proofs.checker import Checker
from salver.runners.answers import Claim, RunRecord
from salver.solvers.hybrid.linear import LinearRelaxation
from salver.solvers.proving import rows as rows_module
from salver.solvers.proving import search as search_module
from salver.solvers.proving.search import prove
from salver.solvers.query import Budget, Options, Query, Result, Verdict
from salver.spec.truth import Truth
from salver.supervise.finished import Termination
from tests.builders.witnesses import instance


@pytest.mark.parametrize("name", MUTANTS)
def test_a_campaign_catches_every_mutant(name: str) -> None:
    """From the seed on that has a kink among its sampled points, where only such a query tells."""
    assert caught(MUTANTS[name], 15 if name.startswith("d") else 0, 10) is not None


def test_the_solver_that_the_mutants_come_from_is_right() -> None:
    assert caught(correct, 0, 6) is None


CLAIMS = {Verdict.SAT: Claim.SAT, Verdict.UNSAT: Claim.UNSAT}


def record(name: str, result: Result) -> RunRecord:
    """What a run would have stored of an answer."""
    x = result.witness
    pairs = None if x is None else f"({''.join(f'(X_{i} {v!r})' for i, v in enumerate(x.tolist()))})"
    return RunRecord(
        key=name, suite="s", instance_id="i", instance="i", family="f", solver=name, solver_version="1",
        repetition=0, limit_s=10.0, termination=Termination.EXITED, exit_code=0, signal=None, wall_s=1.0,
        cpu_s=1.0, memory_mb=10.0, claim=CLAIMS.get(result.verdict, Claim.UNKNOWN), reason="", witness=pairs,
    )  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "b: alternatives lost",
        "f: box halved",
        "h: unsat at the limit",
        "i: another witness",
        "j: witness 1e-3 outside",
        "k: no witness",
    ],
)
def test_the_judge_calls_them_wrong_and_the_right_one_falsified(tmp_path: Path, name: str) -> None:
    found = caught(MUTANTS[name], 0, 40)
    assert found is not None
    query = draw(tmp_path, found[1].seed).query
    results = {"right": correct(query, Budget(10), Options())}
    results["broken"] = MUTANTS[name](query, Budget(10), Options())
    records = [record(key, result) for key, result in results.items()]
    replays = {
        one.key: replay(query.onnx, query.prop, one.witness) for one in records if one.claim is Claim.SAT
    }
    outcomes = {j.key: j.outcome for j in judge(records, {"i": instance()}, replays)}
    assert outcomes == {"right": Outcome.FALSIFIED, "broken": Outcome.WRONG}


@contextlib.contextmanager
def _everything_refuted() -> Iterator[None]:
    with mock.patch.object(LinearRelaxation, "refuted", return_value=True):
        yield


@contextlib.contextmanager
def _all_out_of_range() -> Iterator[None]:
    with mock.patch.object(search_module, "tighten", return_value=None):
        yield


@contextlib.contextmanager
def _other_rows() -> Iterator[None]:
    """All is refuted, and every group of rows stands for the entries of another neuron."""
    pick = rows_module.Rows.pick

    def shifted(self: Any, keep: Any) -> list[Any]:
        groups = [list(group) for group in pick(self, keep)]
        for group in groups:
            if group[0] != "atom":
                group[3] = [0 for _ in group[3]]
        return groups

    with _everything_refuted(), mock.patch.object(rows_module.Rows, "pick", shifted):
        yield


def _believed(self: Checker, context: Any, step: Any) -> Any:
    return np.ones(len(step.get("at", step.get("parts", [0]))), bool)


BREAKS: dict[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
    "sides swapped": swapped_lines,
    "everything refuted": _everything_refuted,
    "all out of range": _all_out_of_range,
    "other rows": _other_rows,
}


@pytest.fixture(scope="module")
def satisfiable(tmp_path_factory: pytest.TempPathFactory) -> list[Query]:
    """Queries to which enumeration knows an answer."""
    folder, found = tmp_path_factory.mktemp("queries"), []
    for seed in range(30):
        query = read_again(draw(folder, seed).query)
        if len(found) < 3 and enumerate_query(query.network, query.prop).truth is Truth.SAT:
            found.append(query)
    return found


@pytest.mark.parametrize("name", BREAKS)
@pytest.mark.parametrize("unchecked", [False, True])
def test_a_broken_search_gets_no_proof_of_a_satisfiable_query_accepted(
    satisfiable: list[Query], name: str, unchecked: bool
) -> None:
    """`unchecked`: the search also believes every deduction it makes instead of asking the checker."""
    proposed = 0
    for query in satisfiable:
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
            stack.enter_context(BREAKS[name]())
            if unchecked:
                stack.enter_context(mock.patch.object(Checker, "contradictions", _believed))
            steps = prove(query, Budget(1.0))
        assert unchecked or steps is None
        if steps is not None:
            proposed += 1
            assert not accepted(query, query.prop, steps)
    assert proposed > 0 or not (unchecked and name in ("everything refuted", "other rows"))
