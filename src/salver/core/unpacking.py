"""Taking a .tar.gz apart without trusting it."""

from __future__ import annotations

import errno
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from salver.core.confined import UnfitFileError, refuse_leaving
from salver.core.errors import SalverError

MOST_BYTES = 4 << 30
"""Unpacked size up to which an archive is looked at."""
MOST_ENTRIES = 200_000
MOST_NAME_BYTES = 1 << 16
"""Longest name of an entry, or extended header with it."""
_BLOCK, _CHUNK = 512, 1 << 20
_FILES, _FOLDER = (b"0", b"\0"), b"5"
_PAX, _PAX_GLOBAL, _GNU_NAME = b"x", b"g", b"L"


def unpack(path: Path, into: Path) -> Path:
    """Unpacks an archive and returns its one top folder below `into`.

    Raises:
        SalverError: no .tar.gz, cut short or damaged, an entry that is no plain file or folder, a path that
            leaves the folder, more than one top folder, more than `MOST_BYTES` or `MOST_ENTRIES`.
    """
    hint, into = "fetch it again", into.absolute()
    try:
        with path.open("rb") as packed:
            for name, is_folder, pieces in _entries(_unpacked(packed)):
                target = into.joinpath(*refuse_leaving(name))
                (target if is_folder else target.parent).mkdir(parents=True, exist_ok=True)
                if not is_folder:
                    with target.open("xb") as file:
                        file.writelines(pieces)
        tops = sorted(into.iterdir())
    except OSError as error:
        what = f"cannot be unpacked ({error.strerror or error})"
        raise SalverError(what, str(path), hint) from error
    if len(tops) != 1 or not tops[0].is_dir():
        raise SalverError("does not hold one folder", str(path), hint)
    return tops[0]


class _Stream:
    """Reads exactly as much as is asked for of a stream of pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._held = pieces, b""

    def up_to(self, count: int) -> Iterator[bytes]:
        """So many bytes, in pieces. Raises: UnfitFileError: there are no more."""
        while count:
            if not self._held:
                self._held = next(self._pieces, b"")
                if not self._held:
                    raise UnfitFileError(errno.EINVAL, "it is cut short")
            piece, self._held = self._held[:count], self._held[count:]
            count -= len(piece)
            yield piece

    def exactly(self, count: int) -> bytes:
        """So many bytes. Raises: as `up_to`."""
        return b"".join(self.up_to(count))


def _unpacked(packed: BinaryIO) -> Iterator[bytes]:
    """What a gzip stream holds, in pieces. Raises: UnfitFileError: damaged, or too much of it."""
    total, unpacking = 0, zlib.decompressobj(wbits=31)
    while not unpacking.eof:
        data = unpacking.unconsumed_tail or packed.read(_CHUNK)
        try:
            piece = unpacking.decompress(data, _CHUNK)
        except zlib.error as error:
            raise UnfitFileError(errno.EINVAL, "it is no .tar.gz archive, or damaged") from error
        total += len(piece)
        if total > MOST_BYTES:
            raise UnfitFileError(errno.EFBIG, f"it unpacks to more than {MOST_BYTES >> 30} GiB")
        if not (data or piece):
            return
        if piece:
            yield piece


def _entries(pieces: Iterator[bytes]) -> Iterator[tuple[str, bool, Iterator[bytes]]]:
    """Name, whether it is a folder, and content of every entry; the content is read before the next entry.

    Written out, since the standard library's reader takes names of any length into memory, and knows kinds of
    entries that have no place in a set. Format: POSIX.1-2001, "pax Interchange Format", and GNU's long names.

    Raises:
        UnfitFileError: damaged, a kind of entry or a size that is not taken.
    """
    stream, longer = _Stream(pieces), ""
    for _ in range(MOST_ENTRIES):
        header = stream.exactly(_BLOCK)
        if not any(header):
            return
        kind, size = header[156:157], _octal(header[124:136])
        if _octal(header[148:156]) != sum(header[:148]) + sum(header[156:]) + 8 * ord(" "):
            raise UnfitFileError(errno.EINVAL, "a header is damaged")
        content = _padded(stream, size)
        if kind in (_PAX, _PAX_GLOBAL, _GNU_NAME):
            if size > MOST_NAME_BYTES:
                raise UnfitFileError(errno.EFBIG, f"a name is longer than {MOST_NAME_BYTES} bytes")
            text = b"".join(content)
            if kind != _PAX_GLOBAL:
                longer = _text(text) if kind == _GNU_NAME else _pax_path(text) or longer
            continue
        name = longer or "/".join(filter(None, (_text(header[345:500]), _text(header[:100]))))
        longer = ""
        if kind not in (*_FILES, _FOLDER):
            raise UnfitFileError(errno.EINVAL, f"it holds {name[:80]!r}, which is no plain file")
        yield name, kind == _FOLDER or (kind == b"\0" and name.endswith("/")), content
        for _ in content:
            continue
    raise UnfitFileError(errno.EFBIG, f"it holds more than {MOST_ENTRIES} files")


def _padded(stream: _Stream, size: int) -> Iterator[bytes]:
    """The content of an entry, after which the stream stands at the next header."""
    yield from stream.up_to(size)
    stream.exactly(-size % _BLOCK)


def _octal(field: bytes) -> int:
    digits = field.strip(b" \0")
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        if digits:
            raise UnfitFileError(errno.EINVAL, "a header holds no octal number")
        return 0
    return int(digits, 8)


def _text(field: bytes) -> str:
    """A name up to its NUL. A name with other bytes than UTF-8 is kept apart from all others."""
    return field.partition(b"\0")[0].decode(errors="surrogateescape")


def _pax_path(text: bytes) -> str:
    """The path of the records `LENGTH KEY=VALUE\\n`, or nothing. Sizes and sparse files are not taken."""
    path = ""
    while text:
        length, _, _ = text.partition(b" ")
        if not length.isdigit() or not 0 < int(length[:9]) <= len(text):
            raise UnfitFileError(errno.EINVAL, "an extended header is damaged")
        record, text = text[len(length) + 1 : int(length)], text[int(length) :]
        key, _, value = record.removesuffix(b"\n").partition(b"=")
        if key == b"size" or key.startswith(b"GNU.sparse"):
            raise UnfitFileError(
                errno.EINVAL, f"an extended header states {key.decode(errors='replace')[:40]}"
            )
        path = _text(value) if key == b"path" else path
    return path
