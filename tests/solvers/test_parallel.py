"""What is shared among processes: no node is lost on the way, and no answer but `unsat` is forgotten."""

from __future__ import annotations

import multiprocessing
import queue
from itertools import permutations
from types import SimpleNamespace

import pytest

from salver.solvers.hybrid import parallel
from salver.solvers.hybrid.node import SearchNode, root_node
from salver.solvers.hybrid.parallel import _collect, _donate, _search_share, _SharedState
from salver.solvers.query import Budget, Options, Query, Result, Verdict
from tests.builders.choices import choice

UNSAT = Result(Verdict.UNSAT)
LEFT_OPEN = [Result(Verdict.UNKNOWN, reason="thin"), Result(Verdict.TIMED_OUT)]


def shared(nodes: list[SearchNode], idle: int = 0) -> _SharedState:
    state = _SharedState(
        queue.Queue(), multiprocessing.Value("i", len(nodes)), multiprocessing.Value("i", idle)
    )
    for node in nodes:
        state.nodes.put(node)
    return state


@pytest.fixture(scope="module")
def query() -> Query:
    return choice(0).query


def test_a_node_that_is_given_away_is_counted_before_it_is_searched(query: Query) -> None:
    pending = [root_node(query) for _ in range(3)]
    state, all_ = shared([], idle=1), list(pending)
    state.outstanding.value = 1
    _donate(state, pending)
    assert state.outstanding.value == 2
    assert [state.nodes.get_nowait(), *pending] == all_
    state.idle.value = 0
    _donate(state, pending)
    assert pending == all_[1:]
    assert state.outstanding.value == 2


@pytest.mark.parametrize("open_", LEFT_OPEN)
def test_one_node_that_is_left_open_is_no_unsat(
    query: Query, open_: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    for answers in set(permutations([open_.verdict, Verdict.UNSAT, Verdict.UNSAT])):
        given = iter([open_ if verdict is open_.verdict else UNSAT for verdict in answers])
        monkeypatch.setattr(parallel, "search", lambda *_, given=given: next(given))
        state = shared([root_node(query)] * 3)
        found = _search_share(query, Budget(60.0), Options(), state, None)
        assert found.verdict is open_.verdict
        assert state.outstanding.value == 0


def test_a_witness_ends_a_share_whatever_the_others_left_open(
    query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = iter([LEFT_OPEN[0], Result(Verdict.SAT), *LEFT_OPEN])
    monkeypatch.setattr(parallel, "search", lambda *_: next(given))
    state = shared([root_node(query)] * 4)
    assert _search_share(query, Budget(60.0), Options(), state, None).verdict is Verdict.SAT
    assert state.outstanding.value == 2


def test_nodes_that_nobody_had_the_time_to_search_are_no_unsat(query: Query) -> None:
    found = _search_share(query, Budget(0.0), Options(), shared([root_node(query)]), None)
    assert found.verdict is Verdict.TIMED_OUT


@pytest.mark.parametrize("open_", LEFT_OPEN)
def test_one_process_that_leaves_something_open_is_no_unsat(open_: Result) -> None:
    for place in range(3):
        answers: queue.Queue[Result] = queue.Queue()
        for number in range(3):
            answers.put(open_ if number == place else UNSAT)
        assert _collect([None] * 3, answers, Budget(60.0)) == open_


@pytest.mark.parametrize("status", [-9, 3])
def test_the_part_of_a_process_that_ended_without_an_answer_is_left_open(status: int) -> None:
    for statuses in ((status, 0), (0, status), (status, status)):
        workers = [SimpleNamespace(exitcode=code) for code in statuses]
        answers: queue.Queue[Result] = queue.Queue()
        answers.put(UNSAT)
        assert _collect(workers, answers, Budget(20.0)).verdict is Verdict.UNKNOWN


def test_processes_that_do_not_answer_in_time_leave_all_open() -> None:
    answers: queue.Queue[Result] = queue.Queue()
    answers.put(UNSAT)
    assert _collect([None] * 2, answers, Budget(-1.0)).verdict is Verdict.TIMED_OUT


def test_a_process_without_memory_ends_the_search_before_others_answer() -> None:
    answers: queue.Queue[Result] = queue.Queue()
    answers.put(Result(Verdict.UNKNOWN, reason=f"{parallel._NO_MEMORY} (MemoryError)"))
    alive = SimpleNamespace(exitcode=None)
    assert _collect([alive] * 2, answers, Budget(20.0)).verdict is Verdict.UNKNOWN
