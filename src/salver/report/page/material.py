"""What the page shows of single runs and instances: command lines, heads of logs, pictures, sizes.

A page that held all of it would be as large as the run's folder, so each kind has a limit. What goes first is
what a reader asks about first: wrong answers, then errors, then the rest in order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from salver.core.confined import head_inside, unpack_inside
from salver.core.errors import SalverError
from salver.families.instance import Instance
from salver.judge.judgement import Consistency, JudgedRun, Outcome
from salver.nets.network import Relu
from salver.nets.onnx.reader import read_onnx
from salver.report.page.pictures import Pictures, pictures
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
    """Texts by key of the run; pictures and sizes (ReLU neurons of the classifier) by id of the instance."""

    texts: Mapping[str, RunText] = field(default_factory=dict)
    pictures: Mapping[str, Pictures] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)


def gather(
    run_dir: Path,
    set_path: Path,
    judged: Sequence[JudgedRun],
    instances: Mapping[str, Instance],
    sizes: Mapping[str, int] | None = None,
) -> Material:
    """Reads what the page shows beside the results. What cannot be read is left out, never an error.

    Args:
        sizes: from `network_sizes`, where they are known already.
    """
    ordered = sorted(judged, key=_urgency)
    texts = {run.run.key: text for run in ordered[:MOST_TEXTS] if (text := _text(run_dir, run)) is not None}
    if sizes is None:
        sizes = network_sizes(set_path, judged, instances)
    return Material(texts=texts, pictures=pictures(run_dir, set_path, ordered, instances), sizes=sizes)


def network_sizes(
    set_path: Path, judged: Sequence[JudgedRun], instances: Mapping[str, Instance]
) -> dict[str, int]:
    """ReLU neurons of the classifier by instance id; of those that can be read and have some."""
    used = {run.run.instance_id for run in judged}
    return _sizes(set_path, [instances[key] for key in sorted(used) if key in instances])


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


def _sizes(set_path: Path, instances: Sequence[Instance]) -> dict[str, int]:
    known: dict[str, int] = {}
    for instance in instances:
        if instance.network not in known:
            known[instance.network] = _neurons(set_path / instance.network)
    return {i.id: known[i.network] for i in instances if known[i.network] > 0}


def _neurons(path: Path) -> int:
    """Entries of all ReLUs; 0 where the network cannot be read."""
    from math import prod

    try:
        network = read_onnx(path)
    except SalverError:
        return 0
    return sum(prod(node.shape) for node in network.nodes if isinstance(node.operator, Relu))
