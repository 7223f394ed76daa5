"""A project folder whose `runners/` are fake solvers, so that other processes can make them by name."""

from __future__ import annotations

from pathlib import Path

from tests.fake_solvers.runner import FakeRunner

_FILE = """
from pathlib import Path
from tests.fake_solvers.runner import FakeRunner


def _made(name, behaviour, arguments, cpus, gpus):
    def __init__(self, device="cpu", proofs=False):
        FakeRunner.__init__(self, behaviour, Path({pids!r}), *arguments, cpus=cpus)
        self.resources = self.resources.model_copy(update={{"gpus": gpus}})
        self.device = device

    return type(name, (FakeRunner,), {{"name": name, "__init__": __init__}})


def discover():
    return [_made(*each) for each in {fakes!r}]
"""


def fake_project(folder: Path, pids: Path, fakes: dict[str, tuple]) -> dict[str, FakeRunner]:
    """Writes the project; returns its runners. `fakes`: name to (behaviour, arguments, cpus, gpus)."""
    for name in ("benchmarks", "generators", "runners"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    rows = [(name, *fake) for name, fake in fakes.items()]
    (folder / "runners" / "fakes.py").write_text(_FILE.format(pids=str(pids), fakes=rows))
    made = {}
    for name, (behaviour, arguments, cpus, gpus) in fakes.items():
        runner = FakeRunner(behaviour, pids, *arguments, cpus=cpus)
        runner.resources = runner.resources.model_copy(update={"gpus": gpus})
        made[name] = runner
    return made
