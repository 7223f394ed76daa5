"""What is to be run, in which order; and how a resume would differ from it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from pydantic import Field

from salver.core.records import Record
from salver.families.instance import Instance, refuse_twins
from salver.runners.answers import Claim, Job, RunRecord
from salver.runners.contract import Runner, why_unsupported
from salver.supervise.finished import MEASURED, Finished, Limits, Termination

LimitsFor = Callable[[Instance, Runner], Limits]


class PlannedJob(Record):
    """A job with the instance it is about."""

    job: Job
    instance: Instance

    def record(
        self,
        finished: Finished,
        claim: Claim,
        reason: str,
        *,
        witness: str | None = None,
        logs: str | None = None,
        started: str = "",
        host: str = "",
    ) -> RunRecord:
        """What is stored of the job once it has ended.

        Args:
            witness, logs: paths below the run's folder, where there are any.
            started: as ISO 8601; started and host are empty for what was not run.
        """
        job, instance = self.job, self.instance
        return RunRecord(
            key=job.key,
            suite=instance.suite,
            instance_id=instance.id,
            instance=instance.name,
            family=instance.family,
            solver=job.solver,
            solver_version=job.solver_version,
            repetition=job.repetition,
            limit_s=job.limits.wall_s,
            **finished.model_dump(include=MEASURED),
            claim=claim,
            reason=reason,
            witness=witness,
            logs=logs,
            started=started,
            host=host,
            device=job.options.get("device", ""),
            cores=job.limits.cores,
            memory_limit_mb=job.limits.memory_mb,
        )


class Plan(NamedTuple):
    """Jobs in the order they are started, and the records of those that need not be run at all."""

    jobs: list[PlannedJob]
    unsupported: list[RunRecord]


def plan(
    instances: Iterable[Instance],
    runners: Mapping[str, Runner],
    limits_for: LimitsFor,
    repetitions: int,
    seed: int,
) -> Plan:
    """Every solver on every instance, `repetitions` times.

    The order is shuffled by `seed` and depends on nothing else: repetition by repetition, instance by
    instance, the solvers of one instance next to each other in an order that changes with the instance.
    So a run that is cut short has compared all solvers on the same, unbiased part of the instances.

    Raises:
        SalverError: two instances of the same content, whose results could not be told apart.
    """
    found = list(instances)
    refuse_twins(found)
    versions = {name: runner.version() for name, runner in runners.items()}
    jobs: list[PlannedJob] = []
    unsupported: list[RunRecord] = []
    for repetition in range(repetitions):
        for instance in sorted(found, key=lambda i: _draw(seed, repetition, i.id)):
            for name in sorted(runners, key=lambda n: _draw(seed, repetition, instance.id, n)):
                runner = runners[name]
                job = Job(
                    instance_id=instance.id,
                    solver=name,
                    solver_version=versions[name],
                    options={"device": runner.device, **({"proofs": "yes"} if runner.proofs else {})},
                    limits=limits_for(instance, runner),
                    repetition=repetition,
                )
                planned = PlannedJob(job=job, instance=instance)
                if reason := why_unsupported(runner, instance):
                    unsupported.append(unsupported_record(planned, reason))
                else:
                    jobs.append(planned)
    return Plan(jobs, unsupported)


def unsupported_record(planned: PlannedJob, reason: str) -> RunRecord:
    """The record of a job that the solver cannot take; nothing was run."""
    return planned.record(Finished(termination=Termination.UNSUPPORTED), Claim.NONE, reason)


def _draw(seed: int, *parts: object) -> bytes:
    """A pseudo-random sort key; adding an instance leaves the order of the others as it was."""
    return hashlib.sha256(repr((seed, *parts)).encode()).digest()


class PlannedSolver(Record):
    """How all jobs of one solver are run; 0 cores or MiB where it has none."""

    version: str
    device: str
    cores: int
    memory_mb: int


class Planned(Record):
    """The jobs of a run, by a hash of their keys, and what decides about them.

    Attributes:
        jobs: how many there are, those that a solver cannot take included.
        keys: SHA-256 over the sorted keys.
        solvers: by name.
        timeout: wall seconds of every job; None for the instances' own.
        backend, pin: how runs are limited, measured and bound to cores.
        selection: the part of the instance set that is run, as said on the command line; empty for all.
    """

    jobs: int
    keys: str
    solvers: dict[str, PlannedSolver]
    timeout: float | None
    repetitions: int
    proofs: bool
    backend: str
    pin: bool
    selection: str = Field(default="", exclude_if=lambda selection: not selection)


def digest_of(keys: Iterable[str]) -> str:
    """Hash of a set of keys."""
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()


def keys_of(plan: Plan) -> list[str]:
    """Keys of all records that a plan ends in."""
    return [*(one.job.key for one in plan.jobs), *(one.key for one in plan.unsupported)]


def solvers_of(plan: Plan) -> dict[str, PlannedSolver]:
    """How each solver of a plan is run."""
    found: dict[str, PlannedSolver] = {}
    for one in plan.jobs:
        job = one.job
        if job.solver not in found:
            found[job.solver] = PlannedSolver(
                version=job.solver_version,
                device=job.options.get("device", ""),
                cores=job.limits.cores,
                memory_mb=job.limits.memory_mb,
            )
    for record in plan.unsupported:
        found.setdefault(
            record.solver,
            PlannedSolver(
                version=record.solver_version,
                device=record.device,
                cores=record.cores,
                memory_mb=record.memory_limit_mb,
            ),
        )
    return dict(sorted(found.items()))


def differences(planned: Planned, now: Planned) -> list[str]:
    """What a resume would do otherwise than planned, one clause each; empty where it is the same."""
    named = [
        f"{label} {_shown(before)}, now {_shown(after)}"
        for label, before, after in (
            ("backend", planned.backend, now.backend),
            ("pinned cores", planned.pin, now.pin),
        )
        if before != after
    ]
    if planned.keys == now.keys:
        return named
    if sorted(planned.solvers) != sorted(now.solvers):
        named.append(f"solvers {', '.join(planned.solvers)}, now {', '.join(now.solvers)}")
    for label, before, after in (
        ("timeout", planned.timeout, now.timeout),
        ("repetitions", planned.repetitions, now.repetitions),
        ("proofs", planned.proofs, now.proofs),
        ("selection", planned.selection or "all", now.selection or "all"),
    ):
        if before != after:
            named.append(f"{label} {_shown(before)}, now {_shown(after)}")
    for solver in sorted(set(planned.solvers) & set(now.solvers)):
        named += _of_solver(solver, planned.solvers[solver], now.solvers[solver])
    return named or ["other jobs than those planned"]


def _of_solver(solver: str, planned: PlannedSolver, now: PlannedSolver) -> list[str]:
    labels = {"version": "version", "device": "device", "cores": "cores", "memory_mb": "memory (MiB)"}
    return [
        f"{label} of {solver} {getattr(planned, field)}, now {getattr(now, field)}"
        for field, label in labels.items()
        if getattr(planned, field) != getattr(now, field)
    ]


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "as the suite says"
    return f"{value:g} s" if isinstance(value, float) else str(value)
