"""What may stand under a name where a file is expected, made in a test's folder."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path


def _socket(path: Path) -> None:
    # The path of a socket may have no more than 107 bytes.
    folder = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{folder}/{path.name}")
    os.close(folder)


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def _outside(path: Path) -> Path:
    """A file in the test's own folder, outside the one that it is about; nothing may read or change it."""
    own = next(folder for folder in path.parents if folder.parent.name.startswith("pytest-"))
    secret = own / "secret"
    secret.write_text("TOPSECRET")
    return secret


ODD_FILES: dict[str, Callable[[Path], object]] = {
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
    "a socket": _socket,
    "a link to a file outside": lambda path: path.symlink_to(_outside(path)),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a file of 1 TiB": _sparse,
}
"""Each makes what its name says at a path, of which nothing is there yet."""
