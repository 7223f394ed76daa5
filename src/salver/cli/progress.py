"""Progress for people: a bar with an ETA on a terminal, one plain line a job otherwise."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from salver.run.plan import Plan
from salver.runners.answers import Claim, RunRecord

MOST_OF_A_REASON = 160


def _bar() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)


@contextmanager
def counting(title: str) -> Iterator[Callable[[int], None]]:
    """Yields a function to call with the number of things made so far."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with _bar() as bar:
        task = bar.add_task(title, total=None)
        yield lambda done: bar.update(task, completed=done)


@contextmanager
def finishing() -> Iterator[tuple[Callable[[Plan], None], Callable[[RunRecord], None]]]:
    """Yields `on_plan` and `on_finish` for a run. Beside a bar stands the first error of every solver."""
    if sys.stderr.isatty():
        with _bar() as bar:
            task, failed = bar.add_task("running"), set[str]()

            def planned(plan: Plan) -> None:
                bar.update(task, total=len(plan.jobs) + len(plan.unsupported))

            def finished(record: RunRecord) -> None:
                bar.update(task, advance=1, description=f"{record.solver} {record.instance[:40]}")
                if (why := error_of(record)) and record.solver not in failed:
                    failed.add(record.solver)
                    bar.console.print(f"{record.solver} {record.instance}: error: {why}", markup=False)

            yield planned, finished
        return
    total, done = 0, 0

    def count(plan: Plan) -> None:
        nonlocal total
        total = len(plan.jobs) + len(plan.unsupported)

    def line(record: RunRecord) -> None:
        nonlocal done
        done += 1
        print(
            f"[{done}/{total}] {record.solver} {record.instance}:",
            f"{outcome_word(record)}, {record.wall_s:.2f} s"
            + (f": {why}" if (why := error_of(record)) else ""),
            flush=True,
        )

    yield count, line


def error_of(record: RunRecord) -> str:
    """Why a run is an error, in one line, for the author of its solver; else nothing."""
    from salver.judge.judgement import Outcome

    reason = " ".join(record.reason.split())[:MOST_OF_A_REASON]
    return reason if outcome_word(record) == Outcome.ERROR else ""


def outcome_word(record: RunRecord) -> str:
    """What a run would count as if the judge believed its solver, in the words of the leaderboard."""
    # The judge is not needed before the first run has ended.
    from salver.judge.judgement import Outcome
    from salver.judge.verdicts import DECIDED, answered, undecided

    if record.claim not in DECIDED or not answered(record):
        return str(undecided(record))
    return str(Outcome.FALSIFIED if record.claim is Claim.SAT else Outcome.VERIFIED)
