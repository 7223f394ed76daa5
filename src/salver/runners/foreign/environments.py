"""Virtual environments of other people's verifiers, in the user's cache, apart from salver's own.

`uv` makes them where it is there, else pip. An environment counts as installed once `installed.json` is
written, which is the last step; what a step left behind when it failed is removed. A tool borrows salver's
packages by a `.pth` file: that saves a second torch. Its own packages come first on its path.
"""

from __future__ import annotations

import importlib.util
import json
import platform
import shutil
import subprocess
import sys
import venv
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from importlib.resources import files
from pathlib import Path
from typing import ClassVar

from salver.core.errors import SalverError
from salver.core.files import write_atomically
from salver.core.records import Record
from salver.runners.contract import Runner
from salver.runners.foreign.peers import Peer
from salver.supervise.finished import Limits
from salver.zoo.datasets.places import cache_dir

DONE = "installed.json"
BORROWED = "borrowed.pth"
PIP_PATIENCE_S = 1800
PROBE_PATIENCE_S = 300
STAND_IN_PARTS = ("datasets", "io", "models", "ops", "transforms")


class Installed(Record):
    """What an environment holds: own packages and borrowed ones, by name, with their versions."""

    name: str
    python: str
    own: dict[str, str]
    borrowed: dict[str, str]


def folder_of(name: str) -> Path:
    """Folder of a tool's environment, there or not."""
    return cache_dir() / "solvers" / name


def program_of(name: str, program: str = "python") -> Path:
    """A program of the environment, there or not."""
    return folder_of(name) / "venv" / "bin" / program


def packages_of(name: str) -> Path:
    """The environment's own site-packages, there or not."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    found = sorted((folder_of(name) / "venv" / "lib").glob("python*/site-packages"))
    return found[0] if found else folder_of(name) / "venv" / "lib" / version / "site-packages"


def installed(name: str) -> Installed | None:
    """What is installed of a tool, or None."""
    try:
        return Installed.model_validate_json((folder_of(name) / DONE).read_text())
    except (OSError, ValueError):
        return None


class InstalledTool(Runner):
    """A verifier that runs in the environment that `salver solvers install` makes.

    Attributes:
        package: the one that it is called by, whose version is the tool's.
    """

    package: ClassVar[str]
    by_default = False

    def unavailable(self) -> str | None:
        if installed(self.name) is None:
            return f"is not installed; run `salver solvers install {self.name}`"
        return super().unavailable()

    def version(self) -> str:
        done = installed(self.name)
        return done.own[self.package] if done else "none"

    def environment(self, limits: Limits) -> dict[str, str]:
        return dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(limits.cores))


def install(peer: Peer) -> Installed:
    """Makes the environment; one that is up to date stays as it is, since runs may be using it.

    Raises:
        SalverError: a package cannot be had, or does not import afterwards; nothing is left behind.
    """
    folder = folder_of(peer.name)
    there, (borrowed, missing) = installed(peer.name), borrowable(peer)
    if there is not None and (there.own, there.borrowed) == (
        _pinned([*peer.lock.split(), *missing]),
        borrowed,
    ):
        return there
    shutil.rmtree(folder, ignore_errors=True)
    try:
        return _installed_in(folder, peer)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _installed_in(folder: Path, peer: Peer) -> Installed:
    borrowed, missing = borrowable(peer)
    own = [*peer.lock.split(), *missing]
    python = str(program_of(peer.name))
    if not _made_by_uv(folder / "venv", python, own):
        venv.create(folder / "venv", with_pip=bool(own), clear=True)
        quietly = ("--quiet", "--no-deps", "--no-input", "--disable-pip-version-check")
        command = [python, "-m", "pip", "install", *quietly, *own]
        if own:
            _must(peer, command, PIP_PATIENCE_S, "cannot be installed")
    packages = packages_of(peer.name)
    for module in peer.stands_in:
        if importlib.util.find_spec(module) is None:
            _stand_in(packages, module)
    paths = [path for path in sys.path if path.endswith("site-packages")]
    (packages / BORROWED).write_text("\n".join(paths) + "\n")
    probe = f"import {', '.join(peer.imports)}"
    _must(peer, [python, "-c", probe], PROBE_PATIENCE_S, "does not import")
    done = Installed(name=peer.name, python=platform.python_version(), own=_pinned(own), borrowed=borrowed)
    write_atomically(folder / DONE, json.dumps(done.model_dump(), indent=1) + "\n")
    return done


def _made_by_uv(folder: Path, python: str, own: list[str]) -> bool:
    """Makes an environment by uv, which takes packages out of its cache and needs no pip in there.

    False where uv is not there, or fails: it does not know what pip is configured with, such as an index.
    """
    uv = shutil.which("uv")
    commands = [
        [str(uv), "venv", "--quiet", "--python", sys.executable, str(folder)],
        *([[str(uv), "pip", "install", "--quiet", "--no-deps", "--python", python, *own]] if own else []),
    ]
    try:
        return uv is not None and not any(
            subprocess.run(
                command, capture_output=True, timeout=PIP_PATIENCE_S, stdin=subprocess.DEVNULL, check=False
            ).returncode
            for command in commands
        )
    except (OSError, subprocess.TimeoutExpired):
        return False


def _pinned(pins: list[str]) -> dict[str, str]:
    return dict(pin.split("==") for pin in pins)


def borrowable(peer: Peer) -> tuple[dict[str, str], list[str]]:
    """Versions of what can be borrowed, and pins of what cannot since the tool demands another version.

    Raises:
        SalverError: salver's environment lacks a package that the tool takes in any version.
    """
    borrowed, missing = {}, []
    for name, demanded in peer.borrows.items():
        try:
            found = installed_version(name)
        except PackageNotFoundError:
            found = ""
        if not found and not demanded:
            raise SalverError(f"needs {name}, which is missing here", peer.name, "run scripts/setup.sh")
        if demanded and found.split("+")[0] != demanded:
            missing.append(f"{name}=={demanded}")
        else:
            borrowed[name] = found
    return borrowed, missing


def _stand_in(packages: Path, module: str) -> None:
    folder = packages / module
    folder.mkdir()
    text = files("salver.runners.foreign").joinpath("stand_ins", f"{module}.txt").read_text()
    (folder / "__init__.py").write_text(text)
    for part in STAND_IN_PARTS:
        (folder / f"{part}.py").write_text(f"from {module} import __getattr__\n")


def _must(peer: Peer, command: list[str], patience_s: float, what: str) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=patience_s, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise SalverError(f"{what}: no end after {patience_s:g} s", peer.name, "try again") from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip() and "WARNING" not in line]
        last = lines[-1] if lines else f"exit status {done.returncode}"
        raise SalverError(f"{what}: {last.strip()[:300]}", peer.name, f"see {peer.url}")
