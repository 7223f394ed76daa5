"""One row per run with what the tables of a bench need beside the judgement: size, delta, solving time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from salver.core.errors import SalverError
from salver.families.instance import Instance
from salver.judge.columns import par2_cost
from salver.judge.judged import Judged
from salver.judge.judgement import JudgedRun
from salver.judge.loaded import LoadedInstance
from salver.judge.scoring import results_frame
from salver.nets.affine import UnsupportedQueryError
from salver.nets.network import lower
from salver.nets.onnx.reader import read_onnx
from salver.run.loaded import LoadedRun
from salver.run.logs import read_finished
from salver.solvers.bounding.propagation import propagate

_SOLVING = re.compile(r"^solving: (\d+\.\d+) s$", re.MULTILINE)
MEASURED_COLUMNS = ("network", "condition", "index", "epsilon", "delta", "unstable", "solving_s", "cost_s")


def measured(judged: Judged[LoadedRun]) -> pd.DataFrame:
    """The results of a run with `MEASURED_COLUMNS`.

    `unstable` counts the neurons that root bounds leave open; -1 where the network cannot be lowered.
    `solving_s` is what the solver says it spent without start and reading, NaN if it does not say.
    `cost_s` is the PAR-2 cost: wall seconds, twice the limit where unsolved.

    Raises:
        SalverError: a file of the set cannot be read.
    """
    run, rows = judged.run, judged.rows
    used = {one.run.instance_id for one in rows}
    unstable = {key: unstable_neurons(run.instances[key]) for key in run.instances.by_id if key in used}
    return measured_frame(rows, run.instances.by_id, unstable, solving_times(run.folder, rows))


def measured_frame(
    judged: Sequence[JudgedRun],
    instances: Mapping[str, Instance],
    unstable: Mapping[str, int],
    solving: Mapping[str, float],
) -> pd.DataFrame:
    """`results_frame` with `MEASURED_COLUMNS`; `unstable` is by instance, `solving` by key of the run."""
    frame = results_frame(judged, instances)
    return frame.assign(
        condition=[instances[name].known.question.text for name in frame["instance_id"]],
        unstable=[unstable[name] for name in frame["instance_id"]],
        solving_s=[solving.get(key, float("nan")) for key in frame["key"]],
        cost_s=par2_cost(frame),
    )


def unstable_neurons(instance: LoadedInstance) -> int:
    """Neurons whose sign interval and linear bounds leave open over the box; each counts once.

    Raises:
        SalverError: the instance's files cannot be read.
    """
    try:
        program = lower(read_onnx(instance.onnx))
    except UnsupportedQueryError:
        return -1
    prop = instance.query
    return propagate(program, prop.input_lower, prop.input_upper, outputs=False).undecided


def solving_times(run_dir: Path, judged: Sequence[JudgedRun]) -> dict[str, float]:
    """Seconds by key of the run, for the runs whose log states them."""
    found = {}
    for run in judged:
        try:
            stated = _SOLVING.search(read_finished(run_dir, run.run).stderr)
        except SalverError:
            continue
        if stated:
            found[run.run.key] = float(stated[1])
    return found
