"""Suites: `benchmarks/*.toml` says what is measured, as data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import Field

from salver.core.errors import SalverError
from salver.core.files import read_toml
from salver.core.plugins import choose
from salver.core.project import folders_named
from salver.core.records import Record, parse_record
from salver.families.named_files import refuse_missing_files
from salver.families.publication import Publication
from salver.supervise.finished import LARGEST_MB, LONGEST_S

_NETWORKS = (".onnx", ".onnx.gz", ".pt", ".pth", ".h5", ".hdf5", ".keras")
"""Endings of what is no suite for certain."""
_FOLDER = r"^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}$"


class FamilyEntry(Record):
    """One `[[family]]` table: a generator with its parameters."""

    generator: str
    timeout: float | None = Field(default=None, gt=0, le=LONGEST_S, allow_inf_nan=False)
    params: dict[str, Any] = Field(default_factory=dict)


class Suite(Record):
    """A benchmark suite. `key` is the stem of `file`, which its paths are relative to.

    `publication` says whose the set is when it is published.
    """

    key: str = Field(pattern=_FOLDER)
    title: str
    description: str = ""
    version: str = Field(default="1", pattern=_FOLDER)
    seed: int = 0
    timeout: float = Field(gt=0, le=LONGEST_S, allow_inf_nan=False)
    memory_mb: int = Field(default=8000, gt=0, le=LARGEST_MB)
    family: tuple[FamilyEntry, ...] = Field(min_length=1)
    publication: Publication | None = None
    file: Path | None = None

    @property
    def text(self) -> str:
        """Everything in the suite file that decides about the instances, as JSON."""
        return self.model_dump_json(exclude={"publication", "file"})

    @property
    def folder_name(self) -> str:
        """Name of the suite in folders of sets and runs.

        A suite of this project's benchmarks/ has its key alone; another one, which may share its key with any
        number of files elsewhere, also a hash of where it lies.
        """
        if self.file is None:
            return self.key
        known = [folder.resolve() for folder in folders_named("benchmarks")]
        if self.file.absolute().parent.resolve() in known:
            return self.key
        return _placed(self.key, self.file)


class GivenSuite(Record):
    """What a run needs to know of an instance set that a person has named: as `Suite` has it.

    Attributes:
        source: the folder, archive or list of instances that was named.
    """

    key: str = Field(pattern=_FOLDER)
    title: str
    version: str = Field(pattern=_FOLDER)
    seed: int
    memory_mb: int = 8000
    source: Path

    @property
    def folder_name(self) -> str:
        """Name of its runs' folders: with a hash of where it lies, since others may share its key."""
        return _placed(self.key, self.source)


AnySuite = Suite | GivenSuite


def _placed(key: str, path: Path) -> str:
    place = str(path.absolute().parent.resolve() / path.name)
    return f"{key}-{hashlib.sha256(place.encode()).hexdigest()[:8]}"


def suite_paths() -> dict[str, Path]:
    """Every suite file by key."""
    found: dict[str, Path] = {}
    for folder in folders_named("benchmarks"):
        for path in sorted(folder.glob("*.toml")):
            found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def refuse_network(key: str) -> None:
    """Refuses a network where a suite or a set is asked for.

    Raises:
        SalverError: with what can be done with a network.
    """
    if key.lower().endswith(_NETWORKS):
        hint = "write a suite that names it, or ask about one point with `salver check`"
        raise SalverError("is a network and no suite", key, hint)


def read_suite(key: str) -> Suite:
    """Reads a suite by key, or a file when `key` ends in `.toml`.

    Raises:
        SalverError: unknown key ("did you mean"), a network or another file, malformed TOML, an unknown or
            missing entry.
    """
    refuse_network(key)
    if key not in suite_paths() and not key.endswith(".toml") and Path(key).exists():
        what = f"is a {'folder' if Path(key).is_dir() else 'file'} and no suite"
        raise SalverError(what, key, "name a suite (`salver suites` lists them) or the .toml file of one")
    path = Path(key) if key.endswith(".toml") else _known_suite(key)
    raw = read_toml(path, "correct the suite file")
    for entry in sorted({"key", "file"} & set(raw)):
        raise SalverError(f"{entry}: is the file's name and nothing else", str(path), "remove this entry")
    _refuse_options_outside_params(raw, str(path))
    suite: Suite = parse_record(Suite, {"key": path.stem, "file": path, **raw}, str(path))
    return suite


def _known_suite(key: str) -> Path:
    """The file of a suite by its key.

    Raises:
        SalverError: there is none; a file here that is nearly called so is named before any other suite.
    """
    known = suite_paths()
    if key not in known and not get_close_matches(key, known, 1):
        files = [path.name for path in Path().glob("*.toml")]
        if here := f"{key}.toml" if f"{key}.toml" in files else "".join(get_close_matches(key, files, 1)):
            raise SalverError("no suite of that name", key, f"did you mean the file {here}?")
    path: Path = choose(key, known, "suite")
    return path


def read_complete_suite(key: str) -> Suite:
    """Reads a suite to make its set. That all its files are there is known before anything slow is imported.

    Raises:
        SalverError: as `read_suite`; a file that it names is not there.
    """
    suite = read_suite(key)
    for family in suite.family:
        refuse_missing_files(suite.file.parent if suite.file else Path(), family.params)
    return suite


def _refuse_options_outside_params(raw: Mapping[str, Any], where: str) -> None:
    """Refuses what is no entry of a `[[family]]` table: mostly an option of its generator in a wrong place.

    Raises:
        SalverError: naming where it belongs, or the entry that is meant.
    """
    families = raw.get("family")
    if isinstance(families, dict):
        raise SalverError("family: is one table, where a list of them is read", where, "write [[family]]")
    for number, family in enumerate(families if isinstance(families, list) else ()):
        for key in sorted(set(family) - set(FamilyEntry.model_fields) if isinstance(family, dict) else ()):
            near = get_close_matches(key, FamilyEntry.model_fields, 1, 0.75)
            meant = "generator" if key in ("family", "name", "kind") else "".join(near)
            hint = f"did you mean {meant}?" if meant else f"write an option as params = {{ {key} = ... }}"
            raise SalverError(f"{key}: no entry has this name", f"{where}, family {number + 1}", hint)
