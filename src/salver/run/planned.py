"""What a run was planned to do, and how a resume differs from it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from salver.core.records import Record
from salver.run.plan import Plan


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
    """

    jobs: int
    keys: str
    solvers: dict[str, PlannedSolver]
    timeout: float | None
    repetitions: int
    proofs: bool
    backend: str
    pin: bool


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
