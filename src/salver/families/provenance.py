"""What an instance set was made from, so that it is known when it is no longer up to date.

`made.json` lies in the set's folder, is not published and not listed in SHA256SUMS: it holds the day.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import ValidationError

import salver
from salver.core.confined import read_inside
from salver.core.records import Record

MADE = "made.json"
MOST_MADE_BYTES = 16 << 20
_PACKAGES = ("numpy", "onnx", "scikit-learn", "scipy", "torch")
"""Whose other versions may train other weights or write other bytes."""
_DOWNSTREAM = (
    "cli",
    "judge",
    "points",
    "publish",
    "report",
    "run",
    "runners",
    "shipped",
    "supervise",
    "testkit",
)
"""Parts of this package that no instance depends on."""
_MISSING = "missing"


class Ingredients(Record):
    """Everything an instance set depends on.

    Attributes:
        suite: hash of what the suite file says about the instances.
        files: SHA-256 of the files that the suite names, by absolute path.
        families: SHA-256 of the families' files, by absolute path.
        salver: version and hash of salver's own sources.
        packages: versions of packages by name.
        data_dir: the data folder as it was named; empty where none was.
    """

    suite: str
    files: dict[str, str]
    families: dict[str, str]
    salver: str
    packages: dict[str, str]
    data_dir: str


class Provenance(Record):
    """When a set was made, from what, and what its maker should know about it."""

    date: str
    ingredients: Ingredients
    notes: tuple[str, ...] = ()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents in a folder; a word for what cannot be read."""
    try:
        if path.is_dir():
            inner = sorted(one for one in path.rglob("*") if not one.is_dir())
            lines = (f"{one.relative_to(path).as_posix()}\n{sha256_of(one)}\n" for one in inner)
            return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()
        if not path.is_file():
            return _MISSING
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return _MISSING


def gathered(
    suite: str, files: Iterable[Path], families: Iterable[type[object]], data_dir: Path | None
) -> Ingredients:
    """What a set is being made from.

    Args:
        suite: what the suite file says about the instances.
        files: those that the suite names, in its order.
    """
    return Ingredients(
        suite=hashlib.sha256(suite.encode()).hexdigest(),
        files=_hashed(files),
        families=_hashed(Path(inspect.getfile(family)) for family in families),
        salver=_own_sources(),
        packages=_versions(),
        data_dir=str(data_dir.absolute()) if data_dir else "",
    )


def is_unchanged(old: Ingredients, suite: str, data_dir: Path | None) -> bool:
    """Whether a set that was made from `old` would be made from the same now.

    No family is imported for this: the files that it named then are looked at again.
    """
    moved = data_dir is not None and bool(old.files) and str(data_dir.absolute()) != old.data_dir
    now = old.model_copy(
        update={
            "suite": hashlib.sha256(suite.encode()).hexdigest(),
            "files": _hashed(map(Path, old.files)),
            "families": _hashed(map(Path, old.families)),
            "salver": _own_sources(),
            "packages": _versions(),
        }
    )
    return not moved and now == old


def recipe(suite: str, files: Mapping[str, str]) -> str:
    """Name of what a set is about (16 hex digits): the suite's text, and the contents of the files it names.

    Without such files it depends on the suite alone, and it never depends on where files lie.
    """
    contents = "".join(f"\n{digest}" for digest in files.values())
    return hashlib.sha256(f"{suite}{contents}".encode()).hexdigest()[:16]


def read_made(folder: Path) -> Provenance | None:
    """What a set was made from; None where nothing readable says so."""
    try:
        return Provenance.model_validate_json(read_inside(folder, MADE, MOST_MADE_BYTES))
    except (OSError, ValidationError):
        return None


def write_made(folder: Path, ingredients: Ingredients, notes: tuple[str, ...]) -> Provenance:
    """Writes the record into the folder of a set that is being made, with the present time."""
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    made = Provenance(date=now, ingredients=ingredients, notes=notes)
    (folder / MADE).write_text(made.model_dump_json(indent=1) + "\n")
    return made


def changed_files(folder: Path) -> list[str]:
    """The files that a set was made from and that are no longer what they were then."""
    made = read_made(folder)
    if made is None:
        return []
    return [path for path, digest in made.ingredients.files.items() if sha256_of(Path(path)) != digest]


def _hashed(files: Iterable[Path]) -> dict[str, str]:
    """SHA-256 by absolute path, in the given order."""
    return {str(path): sha256_of(path) for path in dict.fromkeys(path.absolute() for path in files)}


@cache
def _own_sources() -> str:
    package = Path(salver.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(p for p in package.rglob("*") if p.suffix in (".py", ".json")):
        name = path.relative_to(package)
        if name.parts[0].removesuffix(".py") not in _DOWNSTREAM:
            digest.update(f"{name}\n{sha256_of(path)}\n".encode())
    return f"{salver.__version__} {digest.hexdigest()}"


@cache
def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = _MISSING
    return found
