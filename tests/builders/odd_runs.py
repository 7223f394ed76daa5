"""Judged runs of any solvers and instances, such as 60 solvers, or names of 200 characters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

from salver.judge.judged import Judged
from salver.judge.judgement import JudgedRun, WitnessVerdict
from salver.judge.verdicts import judge
from salver.judge.witness import Replay
from salver.run.loaded import Coverage, LoadedRun
from salver.runners.answers import Claim
from salver.supervise.finished import Termination
from tests.builders.judged_runs import INSTANCES, loaded, run

Said = Callable[[int], Claim | Termination]
"""What the n-th run says; the instances of a solver follow each other."""


def odd_run(
    folder: Path, solvers: Sequence[str], names: Sequence[str], said: Said, coverage: Coverage | None = None
) -> Judged[LoadedRun]:
    """Every solver on instances of these names, which are alike, and of which no answer is known before."""
    (like,) = (one for one in INSTANCES.values() if one.id == "rank-1")
    instances = {f"{n}": like.model_copy(update={"id": f"{n}", "name": name}) for n, name in enumerate(names)}
    records = [
        run(solver, "rank-1", said(n), 0.1 + n / 100).model_copy(
            update={"key": f"{n}", "solver": solver, "instance_id": key, "instance": instances[key].name}
        )
        for n, (solver, key) in enumerate(product(solvers, instances))
    ]
    correct = Replay(verdict=WitnessVerdict.CORRECT, gradient="agrees")
    replays = {one.key: correct for one in records if one.claim is Claim.SAT}
    judgements = judge(records, instances, replays)
    rows = [JudgedRun(run=r, judgement=j) for r, j in zip(records, judgements, strict=True)]
    return loaded(folder, rows, instances, coverage, title="Odd")
