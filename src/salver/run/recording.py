"""What every engine does around its jobs: resume, store each record, then tell."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from salver.core.confined import refuse_other_than_folders
from salver.run.events import EventLog
from salver.run.logs import FOLDERS
from salver.run.plan import PlannedJob
from salver.runners.answers import RunRecord


class RunSummary(NamedTuple):
    """Jobs finished now, jobs skipped because an earlier run had finished them, jobs left undone."""

    finished: int
    skipped: int
    left: int


class Recording(NamedTuple):
    """`wanted`: jobs without a result yet, in order. `record`: stores one on the disk, then tells."""

    wanted: deque[PlannedJob]
    record: Callable[[RunRecord], None]


@contextlib.contextmanager
def recording(
    planned: Sequence[PlannedJob],
    run_dir: Path,
    ready: Iterable[RunRecord],
    on_finish: Callable[[RunRecord], None],
    log: EventLog | None = None,
) -> Iterator[Recording]:
    """Locks the run's event log and stores the records that need no run, where they are not there yet.

    Args:
        log: the run's event log, where the caller has locked it already; it is closed at the end.

    Raises:
        SalverError: another coordinator writes this run; no space left for the events; a folder of the run
            is a link to elsewhere.
    """
    refuse_other_than_folders(run_dir, FOLDERS)
    with log or EventLog(run_dir / "events.jsonl") as opened:
        completed = opened.completed()

        def record(one: RunRecord) -> None:
            opened.append(one)
            on_finish(one)

        for one in ready:
            if one.key not in completed:
                record(one)
        yield Recording(deque(p for p in planned if p.job.key not in completed), record)
