"""The event store: one fsynced JSON line per finished job, written by the coordinator alone.

`recording` is what every engine does around its jobs: resume, store each record, then tell.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import stat
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from pydantic import ValidationError

from salver.core.confined import UnfitFileError, read_inside, refuse_other_than_folders
from salver.core.errors import SalverError
from salver.core.files import sync
from salver.core.records import sharing_field_names
from salver.run.job import Folders
from salver.run.logs import FOLDERS
from salver.run.plan import Plan, PlannedJob
from salver.runners.answers import RunRecord
from salver.runners.contract import Runner
from salver.supervise.finished import Termination

MOST_BYTES = 512 << 20
"""Largest file of events that is read: about a million records."""
MOST_LINE_BYTES = 1 << 16
MOST_NESTED = 100
"""More opening brackets than any record has outside its texts, and fewer than any parser gives up at."""
_KEY = re.compile(rb'"\s*:')
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"?')


class EventLog:
    """`events.jsonl`, the truth about a run.

    Reading takes no lock. Writing does (flock), from the first `append` or `with` until `close`, so that
    two coordinators cannot write one run. A last line torn by a power cut is skipped on reading and cut
    off on opening for append; any other unreadable line is an error.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def records(self) -> Iterator[RunRecord]:
        """Every job's record, in the order in which the jobs were first recorded; none if there is no file.

        A key counts once, as its first record - except that a record of an infrastructure loss, which is
        no result, gives way to the first later record that is one.

        Raises:
            SalverError: a line that is no run record, named by its number; the file cannot be read.
        """
        records: dict[str, RunRecord] = {}
        for number, line in enumerate(_whole_lines(self._read()), start=1):
            record = self._parsed(line, number)
            known = records.get(record.key)
            if known is None or known.termination is Termination.INFRASTRUCTURE:
                records[record.key] = record
        yield from records.values()

    def completed(self) -> frozenset[str]:
        """Keys that need not run again: those with a record that is not an infrastructure loss."""
        return frozenset(r.key for r in self.records() if r.termination is not Termination.INFRASTRUCTURE)

    def open(self) -> None:
        """Locks the file for writing, creates it if need be, and cuts off a torn last line.

        Raises:
            SalverError: another coordinator is writing this run; the file cannot be written.
        """
        if self._descriptor is not None:
            return
        with self._explained("open"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(self.path, flags, 0o644)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise SalverError("is no regular file", str(self.path), "remove what stands there")
            self._lock(descriptor)
            with self._explained("repair"):
                os.ftruncate(descriptor, sum(len(line) + 1 for line in _whole_lines(self._read())))
                sync(self.path.parent)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def append(self, record: RunRecord) -> None:
        """Stores one record; on return it is on the disk.

        Raises:
            SalverError: as `open`; no space left, after which the file is as it was.
        """
        self.open()
        descriptor = self._descriptor
        assert descriptor is not None
        line = record.model_dump_json().encode() + b"\n"
        before = os.fstat(descriptor).st_size
        with self._explained("write"):
            try:
                written = 0
                while written < len(line):
                    written += os.write(descriptor, line[written:])
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, before)
                raise

    def close(self) -> None:
        """Releases the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> EventLog:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self) -> bytes:
        with self._explained("read"):
            try:
                return read_inside(self.path.parent, self.path.name, MOST_BYTES)
            except FileNotFoundError:
                return b""

    def _parsed(self, line: bytes, number: int) -> RunRecord:
        try:
            if len(line) > MOST_LINE_BYTES:
                raise ValueError(f"longer than {MOST_LINE_BYTES >> 10} KiB")
            record = RunRecord.model_validate_json(line)
            # A key is followed by a colon, so only then can one be there twice.
            if len(_KEY.findall(line)) > len(record.model_fields_set):
                json.loads(line, object_pairs_hook=_refuse_twins)
            return sharing_field_names(record)
        except ValueError as error:
            what = f"line {number} is not a run record ({_first_complaint(error)})"
            hint = "restore the file from a copy, or delete that line to have its job run again"
            raise SalverError(what, str(self.path), hint) from error

    def _lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            hint = "wait for it to end, or choose another run folder"
            raise SalverError("another salver process is writing this run", str(self.path), hint) from error
        except OSError as error:
            hint = "put the run folder on a file system with locks"
            raise SalverError(f"cannot be locked ({error.strerror})", str(self.path), hint) from error

    @contextlib.contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            hint = "free some space and resume the run" if full else "check the run folder and resume the run"
            if isinstance(error, UnfitFileError):
                hint = "remove what stands there"
            raise SalverError(f"cannot {doing} it ({error.strerror})", str(self.path), hint) from error


class RunSummary(NamedTuple):
    """Jobs finished now, jobs skipped because an earlier run had finished them, jobs left undone."""

    finished: int
    skipped: int
    left: int


class Recording(NamedTuple):
    """`wanted`: jobs without a result yet, in order. `record`: stores one on the disk, then tells."""

    wanted: deque[PlannedJob]
    record: Callable[[RunRecord], None]


@dataclass(frozen=True, eq=False)
class Work:
    """What an engine is to do, the same for each of them.

    Attributes:
        plan: jobs in the order in which they are started, and the records of those that need no run, which
            are stored first.
        runners: by `Job.solver`.
        folders: where the jobs work, and what limits and measures them.
        on_finish: called with every record that is added, after it is on the disk.
        warm_up: before a measured run of a solver it runs once for a short time and without any record, so
            that no measured run pays for cold file caches.
        log: the run's event log, where the caller has locked it already; it is closed at the end.
    """

    plan: Plan
    runners: Mapping[str, Runner]
    folders: Folders
    on_finish: Callable[[RunRecord], object] = lambda _: None
    warm_up: bool = False
    log: EventLog | None = None


@contextlib.contextmanager
def recording(work: Work) -> Iterator[Recording]:
    """Locks the run's event log and stores the records that need no run, where they are not there yet.

    Raises:
        SalverError: another coordinator writes this run; no space left for the events; a folder of the run
            is a link to elsewhere.
    """
    refuse_other_than_folders(work.folders.run_dir, FOLDERS)
    with work.log or EventLog(work.folders.run_dir / "events.jsonl") as opened:
        completed = opened.completed()

        def record(one: RunRecord) -> None:
            opened.append(one)
            work.on_finish(one)

        for one in work.plan.unsupported:
            if one.key not in completed:
                record(one)
        yield Recording(deque(p for p in work.plan.jobs if p.job.key not in completed), record)


def _whole_lines(data: bytes) -> list[bytes]:
    """Lines without their newline and without a torn last one.

    A last line that is no JSON was torn: a crash may lose its end, or leave a page of zeros within it.
    A last line that is JSON of another shape was not, and is kept for the reader to complain about.
    """
    *lines, _unended = data.split(b"\n")
    return lines[:-1] if lines and not _is_json(lines[-1]) else lines


def _is_json(line: bytes) -> bool:
    """Whether a line is JSON, or nested as no record is, which no crash makes of one."""
    bare = _TEXT.sub(b"", line)
    if bare.count(b"[") + bare.count(b"{") > MOST_NESTED:
        return True
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _first_complaint(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))[:100]
    told = first["msg"].removeprefix("Value error, ")
    return f"{place}: {told}" if place else told


def _refuse_twins(pairs: list[tuple[str, object]]) -> None:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name}: is given twice")
