"""What may stand under a name where a file is expected, made in a test's folder."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def _outside(path: Path) -> Path:
    """A file beside the folder that a test is about, which nothing may read or change."""
    secret = path.parents[1] / "secret"
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
