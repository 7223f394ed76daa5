"""Plots drawn in a process of their own: the same bytes, and none lost with the process."""

from __future__ import annotations

import multiprocessing

import pytest

from salver.core.records import sharing_field_names
from salver.judge.judgement import Judgement, Outcome
from salver.judge.scoring import results_frame
from salver.report.figures.background import background_drawing, drawn_here
from salver.report.write import shown_in_plots
from tests.builders.judged_runs import INSTANCES, judged

FRAME = shown_in_plots(results_frame(judged(), INSTANCES, dict.fromkeys(INSTANCES, 8)))


@pytest.mark.slow
def test_plots_drawn_beside_are_those_drawn_here_even_where_the_process_dies() -> None:
    here = drawn_here(FRAME)
    assert [plot.name for plot in here] == ["cactus", "scatter", "time-neurons"]
    before = set(multiprocessing.active_children())
    with background_drawing() as draw:
        assert draw(FRAME)() == here
        for child in set(multiprocessing.active_children()) - before:
            child.kill()
            child.join()
        assert draw(FRAME)() == here
    assert set(multiprocessing.active_children()) <= before


@pytest.mark.slow
def test_an_error_while_drawing_is_raised_where_the_plots_are_waited_for() -> None:
    with background_drawing() as draw:
        wait = draw(FRAME.drop(columns="solver"))
        with pytest.raises(KeyError):
            wait()


def test_a_lean_record_is_the_same_record() -> None:
    whole = {
        name: getattr(Judgement(key="k", outcome=Outcome.WRONG), name) for name in Judgement.model_fields
    }
    one, other, partial = Judgement(**whole), Judgement(**whole), Judgement(key="k", outcome=Outcome.WRONG)
    assert sharing_field_names(one) == other == sharing_field_names(other)
    assert one.model_fields_set is other.model_fields_set
    assert one.model_dump_json() == Judgement(**whole).model_dump_json()
    assert one.model_copy(update={"detail": "x"}).model_dump(exclude_unset=True) == {**whole, "detail": "x"}
    assert sharing_field_names(partial).model_fields_set == {"key", "outcome"}
