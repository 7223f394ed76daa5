"""Names of instances, networks and their files: they become paths, table cells and arguments."""

from __future__ import annotations

import re

from salver.core.errors import SalverError

LONGEST = 200
SOLVER_NAME = re.compile(r"[a-z0-9][a-z0-9_.+-]*")
"""What a solver may be called, whole: in commands, tables, file names and stored results."""
SOLVER_NAME_HINT = "use small letters, digits and _ . + -, with a letter or digit first"


def spelt(word: str) -> str:
    """The word without what spellings of one name differ in: case, spaces and signs but `+`."""
    return re.sub(r"[^a-z0-9]", "", word.casefold().replace("+", "plus"))


def refuse_unsafe_path(path: str, where: str) -> None:
    """Refuses a path inside an instance set that could leave it or be taken for something else.

    Raises:
        SalverError: absolute, with `..`, empty, with control characters, a comma or a double quote (which
            would break the lines of `instances.csv`), a part that starts with `-` or `~`, or too long.
    """
    # As `PurePosixPath` takes it apart, which would be slow for the many files of a set.
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts or path.startswith("/") or ".." in parts or "\\" in path:
        raise SalverError(f"path {path[:60]!r} leaves the instance set", where, "correct its manifest.json")
    if any(part[0] in "-~" or len(part) > LONGEST for part in parts) or not _printable(path):
        raise SalverError(f"path {path[:60]!r} is no plain file name", where, _PLAIN)


def refuse_unsafe_name(name: str, where: str) -> None:
    """Refuses a name that is to become a file's stem.

    Raises:
        SalverError: as `refuse_unsafe_path`, and for a `/`.
    """
    refuse_unsafe_path(name, where)
    if "/" in name:
        raise SalverError(f"name {name[:60]!r} holds a '/'", where, _PLAIN)


def _printable(text: str) -> bool:
    return text.isprintable() and "," not in text and '"' not in text


_PLAIN = "use letters, digits, '-', '_', '+', '.', '=' and spaces"
