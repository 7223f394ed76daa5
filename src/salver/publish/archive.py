"""Archives of which the same files give the same bytes, and taking one apart without trusting it."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from salver.errors import SalverError

MOST_BYTES = 4 << 30
"""Unpacked size up to which an archive is looked at."""


def archive(files: Mapping[str, bytes], top: str) -> bytes:
    """A .tar.gz of `files` by relative path below the folder `top`.

    Names are sorted; there are no owners, no times, no compression settings and no file name in the header.
    """
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(files):
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.size, entry.mode = len(files[name]), 0o755 if name.endswith(".py") else 0o644
            tar.addfile(entry, io.BytesIO(files[name]))
    return compressed(stream.getvalue())


def compressed(data: bytes) -> bytes:
    """gzip without a time or a name."""
    return gzip.compress(data, compresslevel=6, mtime=0)


def unpack(path: Path, into: Path) -> Path:
    """Unpacks an archive made by `archive` and returns its one top folder below `into`.

    Raises:
        SalverError: no .tar.gz, cut short or damaged, an entry that is no plain file or folder, a path that
            leaves the folder, more than one top folder, more than `MOST_BYTES`.
    """
    mend = "fetch it again"
    try:
        with tarfile.open(path, "r:gz") as tar:
            members = []
            total = 0
            for member in tar:
                total += member.size
                if total > MOST_BYTES:
                    raise SalverError("unpacks to more than 4 GiB", str(path), mend)
                if not (member.isfile() or member.isdir()):
                    raise SalverError(f"holds {member.name[:80]!r}, which is no plain file", str(path), mend)
                members.append(member)
            tar.extractall(into, members, filter="data")
    except (OSError, EOFError, tarfile.TarError) as error:
        raise SalverError(f"cannot be unpacked ({error})", str(path), mend) from error
    tops = sorted(entry for entry in into.iterdir())
    if len(tops) != 1 or not tops[0].is_dir():
        raise SalverError("does not hold one folder", str(path), mend)
    return tops[0]
