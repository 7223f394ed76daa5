"""A project folder whose `runners/` are fake solvers, so that other processes can make them by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.fake_solvers.runner import FakeRunner

_FILE = """
from pathlib import Path
from tests.fake_solvers.project import fake_class
from tests.fake_solvers.project import Fake


def discover():
    return [fake_class(name, Path({pids!r}), fake) for name, fake in {fakes!r}.items()]
"""


class Fake(NamedTuple):
    """A script of this folder as a solver."""

    behaviour: str
    arguments: tuple[str, ...] = ()
    cpus: int = 1
    version: str = "1"


def fake_class(name: str, pids: Path, fake: Fake) -> type[FakeRunner]:
    """The runner class of one fake, as a file of `runners/` declares it."""

    def make(self: FakeRunner, device: str = "cpu", proofs: bool = False) -> None:
        FakeRunner.__init__(self, fake.behaviour, pids, *fake.arguments, cpus=fake.cpus)
        self.device, self.proofs = device, proofs

    methods = {"name": name, "devices": ("cpu", "cuda"), "__init__": make, "version": lambda _: fake.version}
    return type(name, (FakeRunner,), methods)


def fake_project(folder: Path, pids: Path, fakes: Mapping[str, Fake]) -> None:
    """Writes a project with these solvers."""
    for name in ("benchmarks", "generators", "runners"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "runners" / "fakes.py").write_text(_FILE.format(pids=str(pids), fakes=dict(fakes)))
