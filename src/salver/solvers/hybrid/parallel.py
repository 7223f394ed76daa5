"""The same search on several cores: processes that share one queue of nodes.

A worker searches depth first by itself; when another one idles, it gives its shallowest pending node
away. The search is over when no node is left anywhere, or when one worker has a witness.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import queue
import signal
import traceback
from dataclasses import dataclass, replace
from typing import Any

from salver.solvers.hybrid.node import SearchNode
from salver.solvers.hybrid.tree import search
from salver.solvers.hybrid.turns import AttackTurns
from salver.solvers.query import Budget, Options, Query, Result, Verdict
from salver.solvers.watchdog import describe_signal, is_out_of_memory, memory_held

_POLL_S = 0.05
_PATIENCE_S = 0.1
"""How long after the budget's end the workers may still answer."""
_PR_SET_PDEATHSIG = 1
_NO_MEMORY = "out of memory in a worker process"


class WorkerError(Exception):
    """A worker process failed unexpectedly; the message is its exception's type and message."""


def search_in_parallel(
    query: Query, budget: Budget, options: Options, root: SearchNode, attack: AttackTurns | None = None
) -> Result:
    """`tree.search` from `root` on `options.threads` processes; same meaning of the verdict.

    A worker that is killed or runs out of memory makes the result `unknown`: its nodes are lost.

    Raises:
        WorkerError: a worker failed in any other way.
    """
    context = multiprocessing.get_context("fork")
    shared = _SharedState(context.Queue(), context.Value("i", 1), context.Value("i", 0))
    answers: Any = context.Queue()
    shared.nodes.put(root)
    arguments = (query, budget, options, shared, answers, os.getpid(), attack)
    workers = [
        context.Process(target=_work, args=(*arguments, number), daemon=True)
        for number in range(options.threads)
    ]
    for worker in workers:
        worker.start()
    try:
        return _collect(workers, answers, budget)
    finally:
        for worker in workers:
            worker.kill()
            worker.join()


@dataclass(frozen=True)
class _SharedState:
    """The queue of nodes, how many nodes are searched or queued, and how many workers wait."""

    nodes: Any
    outstanding: Any
    idle: Any


@dataclass(frozen=True)
class _Failure:
    """What a worker raised, as text: an exception need not survive pickling."""

    message: str


def _collect(workers: list[Any], answers: Any, budget: Budget) -> Result:
    finished: list[Result] = []
    while len(finished) < len(workers):
        if budget.left < -_PATIENCE_S:
            return Result(Verdict.TIMED_OUT)
        try:
            result: Result | _Failure = answers.get(timeout=_POLL_S)
        except queue.Empty:
            dead = [worker.exitcode for worker in workers if worker.exitcode not in (None, 0)]
            if dead:
                ending = describe_signal(-dead[0]) if dead[0] < 0 else f"lost (exit status {dead[0]})"
                return Result(Verdict.UNKNOWN, reason=f"a worker process was {ending}")
            continue
        if isinstance(result, _Failure):
            raise WorkerError(result.message)
        if result.verdict is Verdict.SAT or result.reason.startswith(_NO_MEMORY):
            return result
        finished.append(result)
    for verdict in (Verdict.TIMED_OUT, Verdict.UNKNOWN):
        for result in finished:
            if result.verdict is verdict:
                return result
    return Result(Verdict.UNSAT)


def _work(
    query: Query,
    budget: Budget,
    options: Options,
    shared: _SharedState,
    answers: Any,
    parent: int,
    attack: AttackTurns | None,
    number: int,
) -> None:
    _die_with(parent)
    if attack is not None:
        attack.reseed(number)
    try:
        result: Result | _Failure = _search_share(query, budget, options, shared, attack)
    except Exception as error:
        message = " ".join(f"{type(error).__name__}: {error}".split())
        if os.environ.get("SALVER_DEBUG") == "1":
            traceback.print_exc()
        if is_out_of_memory(error):
            result = Result(Verdict.UNKNOWN, reason=f"{_NO_MEMORY} ({message}): {memory_held()}")
        else:
            result = _Failure(message)
    answers.put(result)


def _search_share(
    query: Query, budget: Budget, options: Options, shared: _SharedState, attack: AttackTurns | None
) -> Result:
    """Searches nodes until none is left anywhere; what that says about all nodes this worker was given."""
    own = replace(options, threads=1)
    worst = Result(Verdict.UNSAT)
    while True:
        node = _next(shared, budget)
        if node is None:
            break
        result = search(query, budget, own, [node], lambda pending: _donate(shared, pending), attack)
        with shared.outstanding.get_lock():
            shared.outstanding.value -= 1
        if result.verdict is Verdict.SAT:
            worst = result
            break
        if result.verdict is not Verdict.UNSAT:
            worst = result
    if budget.over and worst.verdict is Verdict.UNSAT and shared.outstanding.value > 0:
        worst = Result(Verdict.TIMED_OUT)
    return worst


def _next(shared: _SharedState, budget: Budget) -> SearchNode | None:
    """A node from the queue; None when none is left anywhere or the time is over."""
    with shared.idle.get_lock():
        shared.idle.value += 1
    try:
        while shared.outstanding.value > 0 and not budget.over:
            try:
                node: SearchNode = shared.nodes.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            return node
        return None
    finally:
        with shared.idle.get_lock():
            shared.idle.value -= 1


def _donate(shared: _SharedState, pending: list[SearchNode]) -> None:
    if shared.idle.value > 0 and len(pending) > 1 and shared.nodes.empty():
        with shared.outstanding.get_lock():
            shared.outstanding.value += 1
        shared.nodes.put(pending.pop(0))


def _die_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
