"""Files of folders that nobody vouches for: runs, instance sets, published sets, and what tools leave behind.

Nothing that is read or written here leaves its folder, and nothing is anything but a regular file of bounded
size. A name is opened one folder after the other and no link on the way is followed; only the folder itself,
which the user has named, may lie behind one. Nothing waits for a pipe or a device.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import uuid
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from salver.core.errors import SalverError, file_error

MOST_STORED_BYTES = 64 << 20
"""Largest packed file that is unpacked in memory."""
MOST_PARTS = 64
"""Most folders in a path, and most gzip members of one file; ours have one."""
_CHUNK = 1 << 20
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class UnfitFileError(OSError):
    """Something is there, but no regular file of bounded size in the folder; `strerror` says what it is."""

    @property
    def leaves(self) -> bool:
        """Whether the name leads out of the folder, or over a link, which may."""
        return self.errno in (errno.EXDEV, errno.ELOOP)


def refuse_leaving(name: str) -> tuple[str, ...]:
    """The parts of a relative path. Raises: UnfitFileError: it leaves its folder, or names nothing."""
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    try:
        sound = (
            bool(parts) and not name.startswith("/") and ".." not in parts and b"\0" not in os.fsencode(name)
        )
    except UnicodeEncodeError:
        sound = False
    if not sound:
        raise UnfitFileError(errno.EXDEV, "a path that leaves its folder", name)
    if len(parts) > MOST_PARTS:
        raise UnfitFileError(errno.ENAMETOOLONG, f"more than {MOST_PARTS} folders deep", name)
    return parts


def read_regular(path: Path, most_bytes: int) -> bytes:
    """Content of a file that the user has named; links to it are followed.

    Raises:
        OSError: it cannot be read. UnfitFileError: it is no regular file, or larger than `most_bytes`.
    """
    return _read(open_regular(path), str(path), most_bytes)


def open_regular(path: Path) -> int:
    """Descriptor for reading a file that the user has named. Raises: as `read_regular`."""
    _refuse_other_kinds(path.stat(), str(path))
    return os.open(path, _READ)


def read_inside(folder: Path | str, name: str, most_bytes: int) -> bytes:
    """Content of a file by its path relative to `folder`.

    Raises:
        OSError: it cannot be read. UnfitFileError: see there; also where it is larger than `most_bytes`.
    """
    return _read(open_inside(folder, name), name, most_bytes)


def open_inside(folder: Path | str, name: str) -> int:
    """Descriptor for reading a regular file. Raises: OSError, UnfitFileError: as `read_inside`."""
    with _opened(folder, name) as (above, last):
        _refuse_other_kinds(os.stat(last, dir_fd=above, follow_symlinks=False), name)
        descriptor = os.open(last, _READ | os.O_NOFOLLOW, dir_fd=above)
    try:
        _refuse_other_kinds(os.fstat(descriptor), name)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def unfit(folder: Path | str, name: str) -> str | None:
    """What stands under a name if it is anything but a regular file inside the folder; else, or if there is
    nothing, None."""
    try:
        with _opened(folder, name) as (above, last):
            _refuse_other_kinds(os.stat(last, dir_fd=above, follow_symlinks=False), name)
    except UnfitFileError as error:
        return error.strerror
    except OSError:
        return None
    return None


def inside(folder: Path, name: str) -> Path:
    """The path of a regular file below `folder`, for readers that take a path and bound what they read.

    Raises:
        SalverError: nothing is there, or something that is not read.
    """
    try:
        os.close(open_inside(folder, name))
    except OSError as error:
        hint = "put the file itself there" if isinstance(error, UnfitFileError) else "check the path"
        raise SalverError(f"cannot be read ({error.strerror})", str(folder / name), hint) from error
    return folder / name


def unpack_inside(folder: Path | str, name: str, most_bytes: int) -> bytes:
    """Content of a gzip-compressed file, unpacked.

    Raises:
        OSError, UnfitFileError: as `read_inside`; damaged, or more than `most_bytes` when unpacked.
    """
    return unpack(read_inside(folder, name, MOST_STORED_BYTES), most_bytes, name)


def unpack(data: bytes, most_bytes: int, name: str = "") -> bytes:
    """What gzip-compressed data holds. Raises: UnfitFileError: damaged, or more than `most_bytes`."""
    pieces: list[bytes] = []
    left = most_bytes
    for _ in range(MOST_PARTS):
        if not data:
            return b"".join(pieces)
        unpacking = zlib.decompressobj(wbits=31)
        try:
            pieces.append(unpacking.decompress(data, left + 1))
        except zlib.error as error:
            raise UnfitFileError(errno.EINVAL, f"damaged ({error})", name) from error
        left -= len(pieces[-1])
        if left < 0:
            raise UnfitFileError(errno.EFBIG, f"unpacks to more than {_size(most_bytes)}", name)
        if not unpacking.eof:
            raise UnfitFileError(errno.EINVAL, "damaged (it is cut short)", name)
        data = unpacking.unused_data.lstrip(b"\0")
    raise UnfitFileError(errno.EINVAL, f"packed in more than {MOST_PARTS} parts", name)


def head_inside(folder: Path | str, name: str, most_bytes: int) -> bytes:
    """The first bytes of a gzip-compressed file, of whatever size it is.

    Raises:
        OSError, UnfitFileError: as `read_inside`; damaged.
    """
    descriptor = open_inside(folder, name)
    try:
        # Packed data is hardly ever larger than what it holds.
        data = os.read(descriptor, most_bytes + _CHUNK)
    finally:
        os.close(descriptor)
    try:
        return zlib.decompressobj(wbits=31).decompress(data, most_bytes) if data else b""
    except zlib.error as error:
        raise UnfitFileError(errno.EINVAL, f"damaged ({error})", name) from error


def sha256_inside(folder: Path | str, name: str, most_bytes: int) -> str:
    """SHA-256 of a file in hexadecimal digits. Raises: OSError, UnfitFileError: as `read_inside`."""
    with os.fdopen(open_inside(folder, name), "rb") as file:
        _refuse_size(os.fstat(file.fileno()).st_size, name, most_bytes)
        return hashlib.file_digest(file, "sha256").hexdigest()


def list_inside(folder: Path) -> Iterator[tuple[str, str]]:
    """Every path below a folder but the folders, in no order, with what is there; links are not followed.

    That is `file`, or one of `a link`, `a pipe`, `a socket`, `a device`, `an unreadable folder`.
    """
    # A stack and not `os.walk`, which calls itself and would end at a few hundred folders in each other.
    left = [folder]
    while left:
        here = left.pop()
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    kind = _KINDS.get(stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode), "file")
                    path = here / entry.name
                    if kind == "a folder":
                        left.append(path)
                    else:
                        yield path.relative_to(folder).as_posix(), kind
        except OSError:
            yield here.relative_to(folder).as_posix(), "an unreadable folder"


def write_inside(folder: Path, name: str, content: str | bytes, wait: bool = True) -> None:
    """Writes a file by way of a temporary one beside it, text as UTF-8; missing folders are made.

    A link under that name is replaced; one on the way there is refused. On return the content is on the disk,
    unless nobody is to `wait` for that.

    Raises:
        SalverError: it cannot be written; the old file, if any, is untouched.
    """
    data = content.encode(errors="replace") if isinstance(content, str) else content
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _opened(folder, name, make=True) as (above, last):
            temporary = f".{last[:100]}.{uuid.uuid4().hex[:12]}"
            try:
                _write_new(temporary, data, above, wait)
                os.rename(temporary, last, src_dir_fd=above, dst_dir_fd=above)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=above)
    except OSError as error:
        raise _cannot(error, folder / name) from error


def refuse_other_than_folders(folder: Path, names: Iterable[str]) -> None:
    """Raises a SalverError where one of these names in `folder` stands for anything but a folder in it."""
    for name in names:
        with contextlib.suppress(OSError):
            kind = _KINDS.get(stat.S_IFMT((folder / name).lstat().st_mode), "a file")
            if kind != "a folder":
                raise SalverError(f"is {kind}, not a folder", str(folder / name), "remove what stands there")


def folder_inside(folder: Path, name: str) -> Path:
    """The path of a folder below `folder`, made if it is missing. Raises: SalverError: a link is there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _opened(folder, f"{name}/x", make=True):
            return folder / name
    except OSError as error:
        raise _cannot(error, folder / name) from error


def clear(path: Path) -> None:
    """Removes what is there: a link itself and not what it stands for, a folder with all in it.

    Also folders that may not be written, or lie in each other by the thousand. What then still resists stays;
    whoever writes there next will hear of it.
    """
    with contextlib.suppress(OSError):
        if not stat.S_ISDIR(path.lstat().st_mode):
            path.unlink()
            return
        with contextlib.suppress(RecursionError):
            shutil.rmtree(path, ignore_errors=True)
        path.chmod(0o700)
        while _flatten(path):
            continue
        path.rmdir()


def _flatten(top: Path) -> bool:
    """Removes one layer of folders, of which the inner ones come to lie in `top`; whether anything went."""
    moved = False
    for path in list(top.iterdir()):
        with contextlib.suppress(OSError):
            if path.is_symlink() or not path.is_dir():
                path.unlink()
            else:
                path.chmod(0o700)
                for inner in list(path.iterdir()):
                    if inner.is_dir() and not inner.is_symlink():
                        inner.chmod(0o700)
                        inner.rename(top / uuid.uuid4().hex)
                    else:
                        inner.unlink()
                path.rmdir()
            moved = True
    return moved


@contextlib.contextmanager
def _opened(folder: Path | str, name: str, make: bool = False) -> Iterator[tuple[int, str]]:
    """A descriptor of the folder that a name lies in, and the last part of the name."""
    *between, last = refuse_leaving(name)
    above = os.open(folder, _FOLDER)
    try:
        for part in between:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, dir_fd=above)
            status = os.stat(part, dir_fd=above, follow_symlinks=False)
            kind = _KINDS.get(stat.S_IFMT(status.st_mode), "a file")
            if kind != "a folder":
                number = errno.ELOOP if kind == "a link" else errno.ENOTDIR
                raise UnfitFileError(number, f"behind {kind} {part!r}", name)
            inner = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=above)
            os.close(above)
            above = inner
        yield above, last
    finally:
        os.close(above)


def _refuse_other_kinds(status: os.stat_result, name: str) -> None:
    if (kind := _KINDS.get(stat.S_IFMT(status.st_mode))) is not None:
        number = errno.ELOOP if kind == "a link" else errno.EINVAL
        raise UnfitFileError(number, f"{kind}, not a regular file", name)


def _refuse_size(size: int, name: str, most_bytes: int) -> None:
    if size > most_bytes:
        raise UnfitFileError(errno.EFBIG, f"larger than {_size(most_bytes)}", name)


def _read(descriptor: int, name: str, most_bytes: int) -> bytes:
    """At most so many bytes, also of a file that grows meanwhile; closes the descriptor."""
    try:
        status = os.fstat(descriptor)
        _refuse_other_kinds(status, name)
        _refuse_size(status.st_size, name, most_bytes)
        pieces, size = [], 0
        while size <= most_bytes and (piece := os.read(descriptor, min(_CHUNK, most_bytes + 1 - size))):
            pieces.append(piece)
            size += len(piece)
        _refuse_size(size, name, most_bytes)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
    finally:
        os.close(descriptor)


def _write_new(name: str, data: bytes, above: int, wait: bool) -> None:
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=above)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fchmod(descriptor, 0o644)
        if wait:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _size(most_bytes: int) -> str:
    return f"{most_bytes >> 20} MiB" if most_bytes >> 20 else f"{most_bytes} bytes"


def _cannot(error: OSError, path: Path) -> SalverError:
    if isinstance(error, UnfitFileError):
        return SalverError(
            f"cannot be written ({error.strerror or error})", str(path), "remove what stands there"
        )
    return file_error(error, path)
