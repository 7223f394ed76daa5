"""A small file system in memory, for tests that fill a disk."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


def why_not() -> str:
    """Why none can be mounted here, or nothing."""
    if os.geteuid() != 0:
        return "only root may mount a file system"
    probe = "import ctypes; raise SystemExit(ctypes.CDLL(None).unshare(0x00020000) != 0)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, check=False)
    return "" if done.returncode == 0 else "this root may not mount"


@contextlib.contextmanager
def tmpfs(folder: Path, kib: int) -> Iterator[Path]:
    """Mounts an empty file system of that size on a new folder; it is unmounted whatever happens."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kib}k,mode=0700", "salver-test", str(folder)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)
        folder.rmdir()


def grow(folder: Path, kib: int) -> None:
    """Gives a mounted file system another size."""
    command = ["mount", "-o", f"remount,size={kib}k", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
