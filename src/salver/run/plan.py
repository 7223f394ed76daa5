"""What is to be run, in which order."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from salver.core.errors import SalverError
from salver.core.records import Record
from salver.families.instance import Instance
from salver.runners.answers import Claim, Job, RunRecord
from salver.runners.contract import Runner
from salver.supervise.finished import Limits, Termination

LimitsFor = Callable[[Instance, Runner], Limits]


class PlannedJob(Record):
    """A job with the instance it is about."""

    job: Job
    instance: Instance


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
    _reject_twins(found)
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
                if reason := runner.supports(instance):
                    unsupported.append(unsupported_record(planned, reason))
                else:
                    jobs.append(planned)
    return Plan(jobs, unsupported)


def unsupported_record(planned: PlannedJob, reason: str) -> RunRecord:
    """The record of a job that the solver cannot take; nothing was run."""
    job, instance = planned.job, planned.instance
    return RunRecord(
        key=job.key,
        suite=instance.suite,
        instance_id=instance.id,
        instance=instance.name,
        family=instance.facts.family,
        solver=job.solver,
        solver_version=job.solver_version,
        repetition=job.repetition,
        limit_s=job.limits.wall_s,
        termination=Termination.UNSUPPORTED,
        exit_code=None,
        signal=None,
        wall_s=0.0,
        cpu_s=0.0,
        memory_mb=0.0,
        claim=Claim.NONE,
        reason=reason,
        device=job.options.get("device", ""),
        cores=job.limits.cores,
        memory_limit_mb=job.limits.memory_mb,
    )


def _draw(seed: int, *parts: object) -> bytes:
    """A pseudo-random sort key; adding an instance leaves the order of the others as it was."""
    return hashlib.sha256(repr((seed, *parts)).encode()).digest()


def _reject_twins(instances: list[Instance]) -> None:
    seen: dict[str, str] = {}
    for instance in instances:
        if (twin := seen.setdefault(instance.id, instance.name)) != instance.name:
            what = f"instances {twin} and {instance.name} have the same content"
            raise SalverError(what, instance.suite, "remove one of them from the suite")
