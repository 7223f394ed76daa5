"""Archives of which the same files give the same bytes."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping


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
