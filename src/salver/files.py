"""Files that are either the old ones or the whole new ones, never half of one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from salver.errors import file_error


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file by way of a temporary one beside it; text as UTF-8 with `\\n` line ends.

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
