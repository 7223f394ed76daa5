"""Facts about the machine and the packages a run was made with, for its manifest and for `doctor`."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from salver.judge.machine import Machine
from salver.run.slots import physical_cores
from salver.supervise.cgroups import available

PACKAGES = (
    *("torch", "auto-LiRPA", "maraboupy", "onnx", "onnxruntime"),
    *("vnnlib", "highspy", "pyscipopt", "numpy", "scipy"),
)


def package_versions() -> dict[str, str]:
    """Installed versions of the packages that can change a result; missing ones are left out."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """Model name of the CPU, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _word(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def this_machine() -> Machine:
    """System, CPU, cores, memory, conditions, Python and package versions. No host name."""
    cpu = Path("/sys/devices/system/cpu")
    no_turbo, boost = _word(cpu / "intel_pstate/no_turbo"), _word(cpu / "cpufreq/boost")
    smt = _word(cpu / "smt/active")
    return Machine(
        system=platform.platform(),
        processor=processor(),
        cores=len(os.sched_getaffinity(0)),
        physical_cores=len(physical_cores()),
        memory_mb=psutil.virtual_memory().total // 2**20,
        governor=_word(cpu / "cpu0/cpufreq/scaling_governor"),
        turbo=no_turbo == "0" if no_turbo else boost == "1" if boost else None,
        hyperthreads=smt == "1" if smt else None,
        load=round(os.getloadavg()[0], 2),
        limits=available().label,
        python=platform.python_version(),
        packages=package_versions(),
    )
