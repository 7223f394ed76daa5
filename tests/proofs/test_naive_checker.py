"""Whatever the proof checker accepts, plain fractions accept too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experiments.soundness.naive_checker import WrongError, naive_check
from experiments.soundness.proofs import accepted, corrupt_numbers
from experiments.soundness.queries import draw
from experiments.soundness.stated import read_again
from salver.solvers.proving.search import prove
from salver.solvers.query import Budget


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4, 5, 1004, 1010, 1033])
def test_what_is_accepted_holds_in_fractions(tmp_path: Path, seed: int) -> None:
    query, rng = read_again(draw(tmp_path, seed).query), np.random.default_rng(seed)
    steps = prove(query, Budget(1.0))
    for number in range(6 if steps is not None else 0):
        changed = corrupt_numbers(steps, rng) if number else steps
        if accepted(query, query.prop, changed):
            naive_check(query.network, query.prop, changed)
    with pytest.raises(WrongError):
        naive_check(query.network, query.prop, [{"do": "close", "by": []}])


@pytest.mark.slow
@pytest.mark.parametrize("seed", [7, 8, 37, 94, 137])
def test_a_clause_that_float_bounds_exclude_is_refuted_by_its_linear_program(
    tmp_path: Path, seed: int
) -> None:
    query = read_again(draw(tmp_path, seed).query)
    steps = prove(query, Budget(20.0))
    assert steps is not None
    assert accepted(query, query.prop, steps)
    naive_check(query.network, query.prop, steps)
