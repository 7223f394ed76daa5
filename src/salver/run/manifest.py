"""`manifest.json`: how a run was begun and gone on with, and where the runs lie."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from salver.core.command_line import nearest
from salver.core.confined import read_inside, write_inside
from salver.core.errors import SalverError
from salver.core.records import Record
from salver.families.selection import EVERYTHING, Selection
from salver.judge.machine import Machine
from salver.run.engines import Engine
from salver.run.plan import Planned

MANIFEST = "manifest.json"
MOST_MANIFEST_BYTES = 16 << 20
LATEST = "latest"
"""What stands for the run that was begun or gone on with last."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}", re.ASCII)


class RunOptions(Record):
    """What the user asked for. `solvers` None means every available one; `timeout` None the suite's;
    `cores` None what each solver asks for. A resume takes what is not given from the run. `name` is that of
    the run's folder; None for the suite with the time. `selection` is the part of the set that is run."""

    solvers: tuple[str, ...] | None = None
    timeout: float | None = None
    device: str = "cpu"
    workers: int = Field(default=2, ge=1)
    cores: int | None = Field(default=None, ge=1)
    repetitions: int = Field(default=1, ge=1, le=10_000)
    resume: bool = False
    proofs: bool = False
    engine: Engine = Engine()
    name: str | None = Field(default=None, exclude_if=lambda name: name is None)
    selection: Selection = Field(default=EVERYTHING, exclude_if=lambda selection: not selection.text)


class Session(Record):
    """One resume of a run: how it was started, by which salver, and how many records there were already."""

    started: str
    salver: str
    done: int
    options: RunOptions
    machine: Machine


class RunManifest(Record):
    """`manifest.json` of a run: everything needed to judge and compare it later.

    It says how the run was begun and is never rewritten; a resume adds a session. `kept` is the hash of the
    instance set that the run keeps. Both it and `planned` are absent from runs of older versions.
    `given` says that a person has named the set; `instance_set` is then what was named.
    """

    suite: str
    title: str
    version: str
    seed: int
    recipe: str
    salver: str
    instance_set: str
    solvers: dict[str, str]
    unavailable: dict[str, str]
    options: RunOptions
    started: str
    machine: Machine
    planned: Planned | None = None
    kept: str = ""
    given: bool = Field(default=False, exclude_if=lambda given: not given)
    resumed: tuple[Session, ...] = ()


def read_run(run_dir: Path) -> RunManifest:
    """Reads a run's manifest.

    Raises:
        SalverError: the folder is no run, or its manifest is malformed.
    """
    path = run_dir / MANIFEST
    try:
        return RunManifest.model_validate_json(read_inside(run_dir, path.name, MOST_MANIFEST_BYTES))
    except FileNotFoundError:
        raise SalverError("is no run", str(run_dir), "see the folders below reports/") from None
    except OSError as error:
        raise SalverError(f"cannot be read ({error.strerror})", str(path), "run again") from error
    except ValueError as error:
        raise SalverError(f"is malformed ({str(error).splitlines()[0]})", str(path), "run again") from error


def write_manifest(run_dir: Path, record: RunManifest) -> None:
    """Writes a run's manifest, whole or not at all."""
    text = json.dumps(record.model_dump(mode="json"), indent=1) + "\n"
    write_inside(run_dir, MANIFEST, text)


def find_run(root: Path, name: str) -> Path:
    """A run's folder from its name, its path, or `latest`.

    Raises:
        SalverError: there is none.
    """
    if name == LATEST:
        found = [path for path in (root / "reports").glob(f"*/{MANIFEST}") if path.is_file()]
        found.sort(key=lambda path: path.lstat().st_mtime)
        if not found:
            raise SalverError("there is no run yet", "reports/", "run `salver run SUITE` first")
        return found[-1].parent
    for candidate in (root / "reports" / name, Path(name)):
        if (candidate / MANIFEST).is_file():
            return candidate
    known = [folder.name for folder in run_folders(root)]
    near = nearest(name, known)
    raise SalverError("no run of that name", name, near or "`salver runs` lists them, or say `latest`")


def run_folders(root: Path) -> list[Path]:
    """The folders of all runs below reports/, by name."""
    return [path.parent for path in sorted((root / "reports").glob(f"*/{MANIFEST}"))]


def stored_runs(root: Path) -> Iterator[tuple[Path, RunManifest | SalverError]]:
    """Every run below reports/, by name: its folder with its manifest, or with what is wrong with that."""
    for folder in run_folders(root):
        try:
            yield folder, read_run(folder)
        except SalverError as error:
            yield folder, error


def named_folder(root: Path, name: str) -> Path:
    """Where a run of this name is kept.

    Raises:
        SalverError: no name of a folder, or one that means something else.
    """
    if not _NAME.fullmatch(name):
        hint = "use letters, digits and _ . + -, with a letter or digit first"
        raise SalverError(f"{name[:60]!r} cannot name a run", "--name", hint)
    if name == LATEST:
        raise SalverError("`latest` means the last run", "--name", "choose another name")
    return root / "reports" / name


def refuse_taken_name(root: Path, name: str) -> None:
    """Refuses a name for a new run that it cannot have.

    Raises:
        SalverError: as `named_folder`; a run or something else is there.
    """
    if os.path.lexists(named_folder(root, name)):
        what = f"reports/{name} is there already"
        raise SalverError(what, "--name", "choose another name, or go on with that run by --resume")
