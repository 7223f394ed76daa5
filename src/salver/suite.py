"""Suites: `benchmarks/*.toml` says what is measured, as data."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field

from salver.errors import SalverError, file_error
from salver.model import Record
from salver.plugins import choose
from salver.project import project_root
from salver.records import parse_record

_FOLDER = r"^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}$"


class FamilyEntry(Record):
    """One `[[family]]` table: a generator with its parameters."""

    generator: str
    timeout: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    params: dict[str, Any] = Field(default_factory=dict)


class Suite(Record):
    """A benchmark suite. `key` is the file's stem; key and version name folders."""

    key: str = Field(pattern=_FOLDER)
    title: str
    description: str = ""
    version: str = Field(default="1", pattern=_FOLDER)
    seed: int = 0
    timeout: float = Field(gt=0, allow_inf_nan=False)
    memory_mb: int = Field(default=8000, gt=0)
    family: tuple[FamilyEntry, ...] = Field(min_length=1)

    @property
    def recipe(self) -> str:
        """Hash of everything the suite file says (16 hex digits)."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def suite_paths() -> dict[str, Path]:
    """Every suite file by key."""
    return {path.stem: path for path in sorted((project_root() / "benchmarks").glob("*.toml"))}


def read_suite(key: str) -> Suite:
    """Reads a suite by key, or a file when `key` ends in `.toml`.

    Raises:
        SalverError: unknown key ("did you mean"), malformed TOML, an unknown or missing entry.
    """
    path = Path(key) if key.endswith(".toml") else choose(key, suite_paths(), "suite")
    try:
        raw = tomllib.loads(path.read_text())
    except OSError as error:
        raise file_error(error, path, "read") from error
    except (ValueError, RecursionError) as error:
        raise SalverError(f"is no TOML file ({error})", str(path), "correct the suite file") from error
    if "key" in raw:
        raise SalverError("key: is the file's name and nothing else", str(path), "remove this entry")
    suite: Suite = parse_record(Suite, {"key": path.stem, **raw}, str(path))
    return suite
