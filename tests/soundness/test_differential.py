"""A slice of the comparison of solvers on networks too large to enumerate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experiments.soundness.variants import SOLVERS
from salver.solvers.query import Result, Solver, Verdict
from tests.builders.differential import disagreement, medium


@pytest.mark.parametrize("seed", range(12))
def test_hybrid_and_milp_agree(seed: int, tmp_path: Path) -> None:
    query = medium(tmp_path, seed, most_open=12)
    solvers = {name: SOLVERS[name] for name in ("hybrid", "milp", "to-the-bottom")}
    assert not disagreement(query, solvers, 5.0, seed)


@pytest.mark.parametrize("seed", range(20, 23))
def test_hybrid_and_marabou_agree(seed: int, tmp_path: Path) -> None:
    pytest.importorskip("maraboupy")
    query = medium(tmp_path, seed, most_open=10)
    solvers = {name: SOLVERS[name] for name in ("hybrid", "marabou")}
    assert not disagreement(query, solvers, 5.0, seed)


def test_a_disagreement_and_a_false_witness_are_caught(tmp_path: Path) -> None:
    def liar(result: Result) -> Solver:
        return lambda query, budget, options: result

    for seed in range(40):
        query = medium(tmp_path, seed, most_open=12)
        honest = SOLVERS["hybrid"](query, *_settings())
        if honest.verdict is not Verdict.SAT:
            continue
        solvers = {"hybrid": liar(honest), "milp": liar(Result(Verdict.UNSAT))}
        assert "DISAGREE" in disagreement(query, solvers, 1.0, seed)
        solvers = {"hybrid": liar(Result(Verdict.SAT, np.full(query.network.input_size, 99.0)))}
        outside = disagreement(query, solvers, 1.0, seed)
        assert "witness" in outside or query.confirm(np.full(query.network.input_size, 99.0)) is not None
        return
    pytest.fail("no sat query among the seeds")


def _settings():
    from salver.solvers.query import Budget, Options

    return Budget(5.0), Options()
