"""Private copies of an instance's files in a fresh folder, one per run.

Tools write beside their inputs (alpha,beta-CROWN caches a pickle there and later loads it), so no two
runs may share a file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from salver.core.confined import UnfitFileError, clear, open_inside, unpack_inside
from salver.core.errors import SalverError
from salver.families.instance import Instance
from salver.runners.answers import StagedInstance
from salver.supervise.identity import orphaned, own_identity

_PREFIX = "salver-"
MOST_BYTES = 512 << 20
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
        newer = instance.vnnlib2 or instance.vnnlib
        names = dict.fromkeys((*instance.network_files, instance.vnnlib, newer))
        copies = {name: _copy(root, name, workdir) for name in names}
        staged = StagedInstance(
            instance=instance,
            onnx=copies[instance.onnx],
            networks={name: copies[path] for name, path in instance.networks.items()},
            vnnlib=copies[instance.vnnlib],
            vnnlib2=copies[newer],
        )
        yield Stage(folder, workdir, staged)


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
        clear(folder)


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
        clear(folder)
    return len(found)


def _is_own_folder(path: Path) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()


def _copy(root: Path, name: str, workdir: Path) -> Path:
    """One file of the set, or what the file of that name with `.gz` holds."""
    target, hint = workdir / name, "generate the instance set again"
    with contextlib.ExitStack() as stack:
        try:
            source, unpacked = _opened(root, name)
            if source is not None:
                stack.callback(os.close, source)
        except FileNotFoundError as error:
            raise SalverError("file of an instance is missing", str(root / name), hint) from error
        except OSError as error:
            leaves = isinstance(error, UnfitFileError) and error.leaves
            what = "leaves the instance set" if leaves else "of an instance is corrupt"
            raise SalverError(f"path {name!r} {what} ({error.strerror})", str(root), hint) from error
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if source is None:
                target.write_bytes(unpacked)
            else:
                shutil.copyfile(f"/proc/self/fd/{source}", target)
        except OSError as error:
            raise _no_room(error, target) from error
    return target


def _opened(root: Path, name: str) -> tuple[int | None, bytes]:
    """A descriptor of the file as it is, or else what its packed form holds. Raises OSError."""
    try:
        source = open_inside(root, name)
    except FileNotFoundError:
        return None, unpack_inside(root, f"{name}.gz", MOST_BYTES)
    if os.fstat(source).st_size > MOST_BYTES:
        os.close(source)
        raise UnfitFileError(errno.EFBIG, f"larger than {MOST_BYTES >> 20} MiB", name)
    return source, b""


def _no_room(error: OSError, place: Path) -> SalverError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    hint = "free some space, or name another folder in TMPDIR" if full else ""
    return SalverError(f"cannot copy an instance there ({error.strerror})", str(place), hint)
