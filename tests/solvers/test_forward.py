"""Linear bounds carried forward contain what every block computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from salver.explain.explanation import Explanation
from salver.nets.network import lower
from salver.nets.program import Program
from salver.solvers.bounding.block_lines import relaxed
from salver.solvers.bounding.forward import ForwardForms
from salver.solvers.bounding.propagation import propagate
from tests.builders.explained_networks import program_of
from tests.builders.questions import KINDS_OF_BLOCKS, MAPS
from tests.builders.small_queries import boxes_of, random_query, relu_network


def forms_hold(program: Program, low: np.ndarray, high: np.ndarray, seed: int) -> None:
    """Holds forms of all blocks and of the outputs against values at points of the box."""
    bounds = propagate(program, low, high)
    assert not bounds.infeasible
    forms = ForwardForms(low, high)
    for number in range(len(program.blocks)):
        forms.blocks[number] = forms.through(relaxed(program, bounds, number, pairing=False))
    x = np.random.default_rng(seed).uniform(low, high, (200, len(low)))
    x[:2] = low, high
    outputs, _, values = program.evaluate(x)
    points = np.hstack([x, np.ones((len(x), 1))])
    for number, value in values.items():
        form = forms.blocks[number]
        room = 1e-10 * form.size + 1e-300
        assert (points @ form.lower.T <= value + room).all()
        assert (value <= points @ form.upper.T + room).all()
    least, most = forms.range(forms.of(program.output))
    assert (least <= outputs).all()
    assert (outputs <= most).all()


@pytest.mark.parametrize("seed", range(20))
def test_random_queries(tmp_path: Path, seed: int) -> None:
    query = random_query(tmp_path, seed)
    for low, high in boxes_of(query):
        forms_hold(query.program, low, high, seed)


@pytest.mark.slow
@pytest.mark.parametrize("explanation", MAPS, ids=lambda e: f"{e.short}{'-abs' if e.absolute else ''}")
def test_every_map(explanation: Explanation) -> None:
    """Gates, factors, products, squares and absolute values."""
    program = program_of(explanation, "pooled")
    middle = np.random.default_rng(4).uniform(0.2, 0.8, program.input_size)
    forms_hold(program, middle - 0.2, middle + 0.2, 4)


@pytest.mark.slow
def test_few_maps_have_every_kind_of_block() -> None:
    """What is tried on these alone, since all the others take longer, misses no kind."""
    few, all_ = (
        {type(block) for one in maps for block in program_of(one, "pooled").blocks}
        for maps in (KINDS_OF_BLOCKS, MAPS)
    )
    assert few == all_


def test_correlations_count() -> None:
    """Where all neurons are on, the forms are exact, and intervals are not."""
    program = lower(relu_network([2, 8, 8, 2], np.random.default_rng(0)))
    x = np.array([0.3, -0.2])
    low, high = x - 1e-3, x + 1e-3
    bounds = propagate(program, low, high, method="interval")
    assert not bounds.undecided
    forms = ForwardForms(low, high)
    for number in range(len(program.blocks)):
        forms.blocks[number] = forms.through(relaxed(program, bounds, number, pairing=False))
    least, most = forms.range(forms.of(program.output))
    corners = program.evaluate(np.array([[a, b] for a in (low[0], high[0]) for b in (low[1], high[1])]))[0]
    assert np.allclose(least, corners.min(axis=0), atol=1e-6)
    assert np.allclose(most, corners.max(axis=0), atol=1e-6)
    assert (most - least < bounds.output_upper - bounds.output_lower).all()
