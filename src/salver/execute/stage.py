"""Private copies of an instance's files in a fresh folder, one per run.

Tools write beside their inputs (alpha,beta-CROWN caches a pickle there and later loads it), so no two
runs may share a file.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import shutil
import stat
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from salver.errors import SalverError
from salver.execute.supervision.identity import orphaned, own_identity
from salver.model import Instance, StagedInstance

_PREFIX = "salver-"
MOST_BYTES = 1 << 30
"""Largest file of an instance, unpacked."""


class Stage(NamedTuple):
    """One run's folders: `root` is removed as a whole, `workdir` in it is where the tool runs."""

    root: Path
    workdir: Path
    staged: StagedInstance


@contextlib.contextmanager
def stage(instance: Instance, root: Path, scratch: Path | None = None) -> Iterator[Stage]:
    """Copies the instance's files, unpacked, into a fresh folder that is removed at the end.

    Args:
        instance: its paths are relative to `root` and name the unpacked files; `<path>.gz` may be stored.
        root: folder of the instance set.
        scratch: folder for the fresh folder; None takes the system's temporary folder.

    Raises:
        SalverError: a file is missing, corrupt or outside of `root`; no space left.
    """
    with private_folder(scratch) as folder:
        workdir = folder / "work"
        copies = [_copy(root, name, workdir) for name in (instance.onnx, instance.vnnlib, instance.vnnlib2)]
        onnx, vnnlib, vnnlib2 = copies
        yield Stage(
            folder, workdir, StagedInstance(instance=instance, onnx=onnx, vnnlib=vnnlib, vnnlib2=vnnlib2)
        )


@contextlib.contextmanager
def private_folder(scratch: Path | None = None) -> Iterator[Path]:
    """A fresh folder, removed at the end; should this process die, `sweep_copies` finds it by its name.

    Raises:
        SalverError: no space left.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{own_identity()}-", dir=scratch))
    except OSError as error:
        raise _no_room(error, scratch or Path(tempfile.gettempdir())) from error
    try:
        yield folder
    finally:
        _remove(folder)


def sweep_copies(scratch: Path | None = None) -> int:
    """Removes the private copies of coordinators that are no more; returns how many folders.

    Only folders of this user that no link stands for; whoever made them on another machine is left alone.
    """
    place = scratch or Path(tempfile.gettempdir())
    try:
        named = [path for path in place.iterdir() if orphaned(path.name.removeprefix(_PREFIX))]
    except OSError:
        return 0
    found = [path for path in named if path.name.startswith(_PREFIX) and _is_own_folder(path)]
    for folder in found:
        _remove(folder)
    return len(found)


def _is_own_folder(path: Path) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()


def _copy(root: Path, name: str, workdir: Path) -> Path:
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts:
        raise SalverError(f"path {name!r} leaves the instance set", str(root), "correct its manifest.json")
    source, target = root / relative, workdir / relative
    packed = source.with_name(source.name + ".gz")
    mend = "generate the instance set again"
    inside = root.resolve()
    if not all(path.resolve().is_relative_to(inside) for path in (source, packed)):
        raise SalverError(f"path {name!r} leaves the instance set", str(root), "put the file itself there")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_file():
            shutil.copyfile(source, target)
        else:
            with gzip.open(packed) as compressed, target.open("wb") as plain:
                _unpack(compressed, plain, packed)
    except FileNotFoundError as error:
        raise SalverError("file of an instance is missing", str(source), mend) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise SalverError(f"file of an instance is corrupt ({error})", str(packed), mend) from error
    except OSError as error:
        raise _no_room(error, target) from error
    return target


def _unpack(compressed: gzip.GzipFile, plain: IO[bytes], packed: Path) -> None:
    left = MOST_BYTES
    while chunk := compressed.read(1 << 20):
        left -= len(chunk)
        if left < 0:
            what = f"unpacks to more than {MOST_BYTES >> 20} MiB"
            raise SalverError(what, str(packed), "use a smaller instance")
        plain.write(chunk)


def _no_room(error: OSError, place: Path) -> SalverError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    mend = "free some space, or name another folder in TMPDIR" if full else ""
    return SalverError(f"cannot copy an instance there ({error.strerror})", str(place), mend)


def _remove(folder: Path) -> None:
    """Removes the folder, also where the tool left folders in it that may not be written.

    What then still resists stays: the run is over and its result stands.
    """
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        for parent, names, _ in os.walk(folder):
            for inner in (Path(parent, name) for name in names):
                if not inner.is_symlink():
                    inner.chmod(0o700)
        shutil.rmtree(folder, ignore_errors=True)
