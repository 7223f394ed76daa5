"""`salver doctor`: what works on this machine, what does not, and why."""

from __future__ import annotations

from pathlib import Path

from salver.core.errors import SalverError
from salver.core.plugins import FoundPlugins
from salver.core.records import Record
from salver.families.registry import generators
from salver.run.engines import ENGINES, Engine, check_engine
from salver.run.machine import this_machine
from salver.run.slots import physical_cores
from salver.runners.contract import Runner
from salver.runners.registry import runners, why_unavailable
from salver.supervise import runexec
from salver.supervise.cgroups import available
from salver.supervise.supervisor import LOOK_EVERY_S
from salver.zoo.datasets.catalogue import NAMES, find, how_to_get
from salver.zoo.datasets.record import DECLARED


class SelfCheck(Record):
    """One line of the report: a subject, whether it is usable, and the detail or reason."""

    subject: str
    usable: bool
    detail: str


def examine() -> list[SelfCheck]:
    """Machine, device, engines, data sets and every solver."""
    facts = this_machine()
    machine = f"{facts.processor}, {facts.cores} cores, {facts.memory_mb} MiB, {facts.system}"
    packages = ", ".join(f"{name} {version}" for name, version in facts.packages.items())
    return [
        SelfCheck(subject="machine", usable=True, detail=machine),
        SelfCheck(subject="python", usable=True, detail=f"{facts.python}; {packages}"),
        *_execution(),
        examine_cuda(),
        *_engines(),
        *examine_data(),
        *_solvers(),
    ]


def examine_data() -> list[SelfCheck]:
    """The data sets, each with the folder it was found in."""
    return [_data(name) for name in NAMES]


def examine_cuda() -> SelfCheck:
    try:
        import torch
    except ImportError as error:
        return SelfCheck(subject="cuda", usable=False, detail=f"torch does not import: {error}")
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        detail = f"{len(names)} GPUs, one for each run on cuda: {', '.join(names)}"
        return SelfCheck(subject="cuda", usable=True, detail=detail)
    return SelfCheck(subject="cuda", usable=False, detail="torch finds no CUDA device; use --device cpu")


def _execution() -> list[SelfCheck]:
    """What limits and measures runs, the alternative to it, and how many can be pinned."""
    groups = available()
    if groups.version:
        kept = "memory limited and measured with CPU time by the kernel"
        detail = f"{groups.label}, {kept} ({', '.join(groups.parents)}; {groups.reason})"
    else:
        every = f"{LOOK_EVERY_S * 1000:g} ms"
        detail = f"{groups.label}, memory and CPU time looked up every {every}: {groups.reason}"
    return [
        SelfCheck(subject="limits", usable=True, detail=detail),
        _runexec(),
        _pinning(physical_cores()),
    ]


def _runexec() -> SelfCheck:
    reason = runexec.unavailable()
    detail = f"{runexec.version()}, {runexec.program()}; choose it with --backend runexec"
    return SelfCheck(subject="runexec", usable=reason is None, detail=reason or detail)


def _pinning(cores: list[int]) -> SelfCheck:
    count = f"{len(cores)} physical core{'s' if len(cores) > 1 else ''}"
    detail = f"{count} for -j with --pin: CPU {', '.join(map(str, cores))}"
    return SelfCheck(subject="pinning", usable=True, detail=detail)


def _engines() -> list[SelfCheck]:
    findings = [SelfCheck(subject="engine local", usable=True, detail="built in")]
    for name in ENGINES[1:]:
        try:
            check_engine(Engine(name=name))
            findings.append(SelfCheck(subject=f"engine {name}", usable=True, detail="docs/execution.md"))
        except SalverError as error:
            detail = f"{error.what}; {error.hint}"
            findings.append(SelfCheck(subject=f"engine {name}", usable=False, detail=detail))
    return findings


def _data(name: str) -> SelfCheck:
    subject = f"data {name}"
    if not DECLARED[name].files:
        return SelfCheck(subject=subject, usable=True, detail="built in")
    try:
        folder, _ = find(name, None)
    except SalverError as error:
        return SelfCheck(subject=subject, usable=False, detail=str(error))
    if folder is None:
        advice = f"run `salver data fetch {name}`" if DECLARED[name].sources else how_to_get(name)
        return SelfCheck(subject=subject, usable=False, detail=advice)
    return SelfCheck(subject=subject, usable=True, detail=str(folder))


def _solvers() -> list[SelfCheck]:
    """Every solver, then the files and entry points of plug-ins that do not load."""
    try:
        known, families = runners(warn=False), generators(warn=False)
    except SalverError as error:
        detail = f"{error}; unroll, verify-set and salver-solve work without one"
        return [SelfCheck(subject="project", usable=False, detail=detail)]
    findings = [_solver(name, known[name]) for name in sorted(known)]
    return [*findings, *_broken(known), *_broken(families)]


def _solver(name: str, kind: type[Runner]) -> SelfCheck:
    subject = f"solver {name}"
    runner = kind()
    if reason := why_unavailable(runner):
        return SelfCheck(subject=subject, usable=False, detail=reason)
    devices = " and ".join(sorted(kind.devices))
    completeness = "complete" if kind.complete else "incomplete"
    detail = f"version {runner.version()}, {completeness}, on {devices}"
    return SelfCheck(subject=subject, usable=True, detail=detail)


def _broken(found: FoundPlugins) -> list[SelfCheck]:
    return [
        SelfCheck(subject=f"plug-in {Path(one.where).name}", usable=False, detail=str(one.error))
        for one in found.broken
    ]
