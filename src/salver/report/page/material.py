"""What the page shows of single runs and instances: command lines, heads of logs, pictures.

A page that held all of it would be as large as the run's folder, so each kind has a limit. What goes first is
what a reader asks about first: wrong answers, then errors, then the rest in order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from salver.core.confined import head_inside, unpack_inside
from salver.judge.judged import Judged
from salver.judge.judgement import Consistency, JudgedRun, Outcome
from salver.report.page.pictures import Pictures, pictures
from salver.run.loaded import LoadedRun
from salver.run.logs import COMMAND

MOST_TEXTS = 2_000
"""Runs whose command and log heads are in the page."""
HEAD = 1_500
"""Characters of each stream in the page."""
_MOST_BYTES = 1 << 20
_FIRST = {Outcome.WRONG: 0, Outcome.ERROR: 2, Outcome.MEMOUT: 3}


@dataclass(frozen=True)
class RunText:
    """Of one run: the argument vector and added environment (None: not recorded), the heads of both streams,
    and whether there is more of them than the head."""

    argv: tuple[str, ...] | None
    environment: dict[str, str]
    stdout: str
    stderr: str
    cut: tuple[bool, bool]


@dataclass(frozen=True)
class Material:
    """Texts by key of the record; pictures by id of the instance."""

    texts: Mapping[str, RunText] = field(default_factory=dict)
    pictures: Mapping[str, Pictures] = field(default_factory=dict)


def gather(judged: Judged[LoadedRun]) -> Material:
    """Reads what the page shows beside the results. What cannot be read is left out, never an error."""
    run, ordered = judged.run, sorted(judged.rows, key=_urgency)
    shown = ((one.run.key, _text(run.folder, one)) for one in ordered[:MOST_TEXTS])
    texts = {key: text for key, text in shown if text is not None}
    return Material(texts=texts, pictures=pictures(run, ordered))


def _urgency(run: JudgedRun) -> int:
    if run.judgement.consistency is not Consistency.CONSISTENT:
        return min(1, _FIRST.get(run.judgement.outcome, 1))
    return _FIRST.get(run.judgement.outcome, 4)


def _text(run_dir: Path, run: JudgedRun) -> RunText | None:
    if run.run.logs is None:
        return None
    heads = [_head(run_dir, f"{run.run.logs}/{name}.gz") for name in ("stdout", "stderr")]
    command = _command(run_dir, f"{run.run.logs}/{COMMAND}.gz")
    if command is None and not any(head for head, _ in heads):
        return None
    argv, environment = command or (None, {})
    return RunText(argv, environment, heads[0][0], heads[1][0], (heads[0][1], heads[1][1]))


def _head(run_dir: Path, name: str) -> tuple[str, bool]:
    try:
        # Four bytes is the longest character; the rest of a huge log is never unpacked.
        text = head_inside(run_dir, name, 4 * HEAD + 4).decode(errors="replace")
    except OSError:
        return "", False
    return text[:HEAD], len(text) > HEAD


def _command(run_dir: Path, name: str) -> tuple[tuple[str, ...], dict[str, str]] | None:
    try:
        stored: Any = json.loads(unpack_inside(run_dir, name, _MOST_BYTES))
        argv = tuple(str(part) for part in stored["argv"])
        return argv, {str(key): str(value) for key, value in stored["environment"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
