"""Files that are either the old ones or the whole new ones, never half of one, and never somebody else's."""

from __future__ import annotations

import contextlib
import difflib
import os
import shutil
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from salver.core.errors import SalverError, file_error, plain_reason


def missing_file(given: str, otherwise: str) -> SalverError:
    """The error of a file that was named and is not there, with the name in its folder that is near.

    Args:
        otherwise: what to do where none is near.
    """
    path, near = Path(given), list[str]()
    with contextlib.suppress(OSError):
        near = difflib.get_close_matches(path.name, [one.name for one in path.parent.iterdir()], 1)
    hint = f"did you mean {path.parent / near[0]}?" if near else otherwise
    return SalverError("does not exist", given, hint)


def read_toml(path: Path, hint: str) -> dict[str, Any]:
    """The content of a TOML file that a person wrote.

    Args:
        hint: what to do where it is no TOML.

    Raises:
        SalverError: it cannot be read, or is no TOML; the line and column are named.
    """
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise file_error(error, path, "read") from error
    except UnicodeDecodeError as error:
        raise SalverError(f"is no TOML file: {plain_reason(error)}", str(path), "save it as UTF-8") from error
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, ValueError) else "it is nested too deeply"
        raise SalverError(f"is no TOML file ({reason})", str(path), hint) from error


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file in a folder of salver's own by way of a temporary one beside it, over an older one.

    Text is written as UTF-8 with `\\n` line ends; missing folders are made. For a file that the user named
    see `refuse_output`.

    Raises:
        SalverError: no space left, no permission, a read-only disk; the old file, if any, is untouched.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as stream:
            temporary = Path(stream.name)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise file_error(error, path) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def refuse_output(path: Path, *, force: bool = False, inputs: Iterable[Path] = (), option: str = "") -> None:
    """Refuses a file that the user named for output where something would be lost or made up.

    Args:
        force: a plain file that is there may be replaced; never an input.
        inputs: what the command reads, by whatever spelling, link or hard link `path` leads there.
        option: the option that allows to replace a file; empty where there is none.

    Raises:
        SalverError: `path` is an input, is there already, is no plain file, or its folder does not exist.
    """
    refuse_missing_parent(path)
    for source in inputs:
        if path.exists() and source.exists() and path.samefile(source):
            raise SalverError(f"is the input {source} itself", str(path), "choose another name")
    if path.is_dir():
        raise SalverError("is a folder", str(path), "give the name of a file")
    if path.exists() and not path.is_file():
        raise SalverError("is no plain file", str(path), "choose another name")
    if os.path.lexists(path) and not force:
        hint = f"choose another name, or replace it with {option}" if option else "choose another name"
        raise SalverError("exists already", str(path), hint)


def refuse_missing_parent(path: Path) -> None:
    """Refuses an output in a folder that does not exist, which is more often misspelt than meant.

    Raises:
        SalverError: the folder that `path` would lie in is not there.
    """
    parent = path.absolute().parent
    if not parent.is_dir():
        raise SalverError("does not exist", f"folder {path.parent}", "make it first, or correct the path")


def refuse_existing(path: Path) -> None:
    """Refuses a folder that the user named for output where something is there already.

    Raises:
        SalverError: it is, if only as a link.
    """
    if os.path.lexists(path):
        raise SalverError("exists already", str(path), "choose another folder")


def fresh_folder(parent: Path, name: str) -> Path:
    """Makes the folder `parent`/`name`-TIME, which nobody else has, and returns its path.

    Raises:
        SalverError: it cannot be made.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    folder, number = parent / f"{name}-{stamp}", 1
    while True:
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
            folder = parent / f"{name}-{stamp}-{number}"
        except OSError as error:
            raise file_error(error, folder, "made") from error
        else:
            return folder


def named_new_folder(parent: Path, name: str) -> Path:
    """Makes the folder `parent`/`name`, which must not be there, and returns its path.

    Raises:
        SalverError: it is there, or cannot be made.
    """
    folder = parent / name
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
    except OSError as error:
        raise file_error(error, folder, "made") from error
    return folder


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[None]:
    """Makes a folder, and takes it away again where what is written into it fails.

    Half a folder would stand in the way of the next try.

    Raises:
        SalverError: it is there, or cannot be made.
    """
    named_new_folder(folder.parent, folder.name)
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def sync(path: Path) -> None:
    """Waits until a file's content, or a folder's names, are on the disk. Raises OSError.

    File systems with a journal keep the order of what was done, so a new file's name, and a renaming of its
    folder before this call, are there with its content.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
