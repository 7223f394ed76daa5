"""Checks that run the tool for real, through the engine, on queries whose answers are known."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from salver.families.instance import Instance
from salver.judge.judgement import JudgedRun, Outcome
from salver.judge.verdicts import judge
from salver.judge.witness import replay
from salver.run.job import Folders, run_job
from salver.run.plan import PlannedJob
from salver.runners.answers import Claim, Job, RunRecord
from salver.runners.contract import Runner
from salver.spec import read_vnnlib
from salver.spec.truth import Truth
from salver.supervise.finished import Limits, Termination  # fmt: skip
from salver.testkit.check import BrokenError, Check, checked, require

SHORT_S = 1.0
OVERSHOOT_S = 10.0
"""Generous: the supervisor kills at the limit plus a grace of a second; a loaded machine may be late."""
SMALL_MB = 16
DECIDED = (Claim.SAT, Claim.UNSAT)


class Trial(NamedTuple):
    """Where and how long the tool is run: an instance set, a scratch folder, wall seconds of a run."""

    runner: Runner
    set_path: Path
    scratch: Path
    seconds: float

    def limits(self, **changes: float) -> Limits:
        """The limits of a run as a suite would set them."""
        resources = self.runner.resources
        told = {"wall_s": self.seconds, "memory_mb": resources.memory_mb, "cores": resources.cpus}
        return Limits.model_validate({**told, **changes})

    def run(
        self,
        instance: Instance,
        folder: str,
        root: Path | None = None,
        room: Path | None = None,
        **changes: float,
    ) -> RunRecord:
        """One run; its logs go to `folder` of the scratch folder, its private copies to `room`."""
        job = Job(
            instance_id=instance.id,
            solver=self.runner.name,
            solver_version=self.runner.version(),
            limits=self.limits(**changes),
        )
        (self.scratch / folder).mkdir(parents=True, exist_ok=True)
        folders = Folders(root or self.set_path, self.scratch / folder, room)
        return run_job(PlannedJob(job=job, instance=instance), self.runner, folders)

    def judged(self, instance: Instance, record: RunRecord, folder: str) -> JudgedRun:
        """The record, judged against the known answer with its witness replayed."""
        replays = {}
        if record.claim is Claim.SAT:
            stored = self.scratch / folder / record.witness if record.witness else None
            text = stored.read_text(errors="replace") if stored else None
            prop = read_vnnlib(self.set_path / f"{instance.vnnlib}.gz")
            replays[record.key] = replay(self.set_path / instance.onnx, prop, text)
        (judgement,) = judge([record], {instance.id: instance}, replays)
        return JudgedRun(run=record, judgement=judgement)


def chosen_instances(instances: Sequence[Instance], runner: Runner, count: int) -> list[Instance]:
    """At most `count` instances with known answers that the runner takes: sat and unsat in turn, mixed."""
    known = [i for i in instances if i.expected is not Truth.UNKNOWN and runner.supports(i) is None]
    mixed = sorted(known, key=lambda i: hashlib.sha256(i.id.encode()).digest())
    kinds = [[i for i in mixed if i.expected is truth] for truth in (Truth.SAT, Truth.UNSAT)]
    turns = [i for pair in zip(*kinds, strict=False) for i in pair]
    return (turns + [i for i in mixed if i not in turns])[:count]


def check_tool(
    runner: Runner, instances: Sequence[Instance], set_path: Path, seconds: float, count: int
) -> Iterator[Check]:
    """Yields one check after another; each may take several runs of `seconds` each."""
    chosen = chosen_instances(instances, runner, count)
    if not chosen:
        reason = next((runner.supports(i) for i in instances), None) or "none has a known answer"
        yield Check("queries", "FAIL", f"the runner takes no query of the suite: {reason}")
        return
    with tempfile.TemporaryDirectory(prefix="salver-test-runner-") as folder:
        trial = Trial(runner, set_path, Path(folder), seconds)
        records = [trial.run(instance, "first") for instance in chosen]
        judged = [trial.judged(i, r, "first") for i, r in zip(chosen, records, strict=True)]
        yield checked("every run ends", lambda: _ends(judged))
        yield checked("known answers", lambda: _answers(judged, chosen))
        yield checked("witnesses", lambda: _witnesses(judged))
        best = next((i for i, r in zip(chosen, records, strict=True) if r.claim in DECIDED), chosen[0])
        rest: tuple[tuple[str, Callable[[Trial, Instance], str]], ...] = (
            ("time limit", _time_limit),
            ("memory limit", _memory_limit),
            ("two at once", _two_at_once),
            ("folder with a space", _awkward_folder),
            ("broken network", _broken_network),
        )
        for subject, ask in rest:
            yield checked(subject, lambda ask=ask: ask(trial, best))  # type: ignore[misc]


def _ends(judged: list[JudgedRun]) -> str:
    bad = [one for one in judged if one.judgement.outcome is Outcome.ERROR]
    if bad:
        first = bad[0].run
        reason = first.reason or f"exit code {first.exit_code}, no verdict"
        raise BrokenError(f"{len(bad)} of {len(judged)} runs are errors; {first.instance}: {reason}")
    return f"{len(judged)} runs, no error"


def _answers(judged: list[JudgedRun], instances: list[Instance]) -> str:
    wrong = [
        f"{one.run.instance}: says {one.run.claim.value}, "
        f"the answer is {i.expected.value} ({i.evidence.value})"
        for one, i in zip(judged, instances, strict=True)
        if one.run.claim in DECIDED and one.run.claim.value != i.expected.value
    ]
    require(not wrong, f"{len(wrong)} of {len(judged)} are wrong; {'; '.join(wrong[:3])}")
    count = {outcome: sum(one.judgement.outcome is outcome for one in judged) for outcome in Outcome}
    return (
        ", ".join(f"{n} {outcome.value}" for outcome, n in count.items() if n)
        + ", none contradicts the truth"
    )


def _witnesses(judged: list[JudgedRun]) -> str:
    told = [one for one in judged if one.run.claim is Claim.SAT]
    bad = [one for one in told if one.judgement.outcome is not Outcome.FALSIFIED]
    if bad:
        first = bad[0]
        reason = first.judgement.detail or first.judgement.witness.value
        raise BrokenError(
            f"{len(bad)} of {len(told)} do not stand; {first.run.instance}: {reason}; after `sat` "
            "parse() should return the witness in VNN-LIB 1.0 or 2.0 form"
        )
    return f"{len(told)} replayed" if told else "the tool said `sat` nowhere"


def _time_limit(trial: Trial, instance: Instance) -> str:
    record = trial.run(instance, "short", wall_s=SHORT_S)
    require(
        record.wall_s <= SHORT_S + OVERSHOOT_S, f"a limit of {SHORT_S:g} s ended after {record.wall_s:.1f} s"
    )
    if record.termination is Termination.WALLTIME:
        return f"stopped at {SHORT_S:g} s"
    return f"ended by itself in {record.wall_s:.1f} s"


def _memory_limit(trial: Trial, instance: Instance) -> str:
    record = trial.run(instance, "small", memory_mb=SMALL_MB)
    judged = trial.judged(instance, record, "small")
    require(
        judged.judgement.outcome is not Outcome.WRONG,
        f"with {SMALL_MB} MiB the answer is {record.claim.value}, which is wrong",
    )
    return f"with {SMALL_MB} MiB: {judged.judgement.outcome.value}"


def _two_at_once(trial: Trial, instance: Instance) -> str:
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda folder: trial.run(instance, folder), ("left", "right")))
    claims = {record.claim for record in both}
    require(not claims >= set(DECIDED), "two runs of one query side by side contradict each other")
    broken = next((record for record in both if record.claim in (Claim.ERROR, Claim.NONE)), None)
    if broken is not None and broken.termination is not Termination.WALLTIME:
        raise BrokenError(f"fails when it runs twice at once: {broken.reason or 'no verdict'}")
    return " and ".join(record.claim.value for record in both)


def _awkward_folder(trial: Trial, instance: Instance) -> str:
    room = trial.scratch / "a folder, mit Ümlaut"
    room.mkdir()
    record = trial.run(instance, "awkward", room=room)
    ended = record.claim not in (Claim.ERROR, Claim.NONE) or record.termination is Termination.WALLTIME
    require(ended, f"fails in a folder named {room.name!r}: {record.reason or 'no verdict'}; quote the paths")
    return record.claim.value


def _broken_network(trial: Trial, instance: Instance) -> str:
    root = trial.scratch / "broken"
    for name in (instance.onnx, instance.vnnlib, instance.vnnlib2):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / instance.onnx).write_bytes(b"this is no network")
    for name in (f"{instance.vnnlib}.gz", f"{instance.vnnlib2}.gz"):
        (root / name).write_bytes((trial.set_path / name).read_bytes())
    record = trial.run(instance, "unread", root=root)
    require(record.claim not in DECIDED, f"says {record.claim.value!r} of a file that is no network")
    return f"{record.claim.value}: {record.reason[:80]}" if record.reason else record.claim.value
