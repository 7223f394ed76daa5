"""`salver doctor`: what works on this machine, what does not, and why."""

from __future__ import annotations

from salver.datasets.catalogue import BUILT_IN, NAMES, find
from salver.errors import SalverError
from salver.execute.engines import ENGINES, Engine, check_engine
from salver.machine import machine_facts
from salver.model import Record
from salver.plugins import runners


class Finding(Record):
    """One line of the report: a subject, whether it is usable, and the detail or reason."""

    subject: str
    usable: bool
    detail: str


def examine() -> list[Finding]:
    """Machine, device, engines, data sets and every solver."""
    facts = machine_facts()
    machine = f"{facts['processor']}, {facts['cores']} cores, {facts['memory_mb']} MiB, {facts['system']}"
    packages = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    return [
        Finding(subject="machine", usable=True, detail=machine),
        Finding(subject="python", usable=True, detail=f"{facts['python']}; {packages}"),
        _cuda(),
        *_engines(),
        *(_data(name) for name in NAMES),
        *_solvers(),
    ]


def _cuda() -> Finding:
    try:
        import torch
    except ImportError as error:
        return Finding(subject="cuda", usable=False, detail=f"torch does not import: {error}")
    if torch.cuda.is_available():
        return Finding(subject="cuda", usable=True, detail=torch.cuda.get_device_name(0))
    return Finding(subject="cuda", usable=False, detail="torch finds no CUDA device; use --device cpu")


def _engines() -> list[Finding]:
    findings = [Finding(subject="engine local", usable=True, detail="built in")]
    for name in ENGINES[1:]:
        try:
            check_engine(Engine(name=name))
            findings.append(Finding(subject=f"engine {name}", usable=True, detail="docs/execution.md"))
        except SalverError as error:
            detail = f"{error.what}; {error.mend}"
            findings.append(Finding(subject=f"engine {name}", usable=False, detail=detail))
    return findings


def _data(name: str) -> Finding:
    subject = f"data {name}"
    if name in BUILT_IN:
        return Finding(subject=subject, usable=True, detail="built in")
    try:
        folder, _ = find(name, None)
    except SalverError as error:
        return Finding(subject=subject, usable=False, detail=str(error))
    if folder is None:
        return Finding(subject=subject, usable=False, detail=f"run `salver data fetch {name}`")
    return Finding(subject=subject, usable=True, detail=str(folder))


def _solvers() -> list[Finding]:
    findings = []
    for name, kind in sorted(runners().items()):
        runner = kind()
        reason = runner.unavailable()
        if reason is None:
            devices = " and ".join(sorted(kind.devices))
            completeness = "complete" if kind.complete else "incomplete"
            detail = f"version {runner.version()}, {completeness}, on {devices}"
        else:
            detail = reason
        findings.append(Finding(subject=f"solver {name}", usable=reason is None, detail=detail))
    return findings
