"""Which code was measured."""

from __future__ import annotations

import subprocess

from salver.core.project import CHECKOUT


def commit() -> str:
    """The commit, with `-dirty` behind it where files are changed; `unknown` without a git checkout."""
    command = ["git", "-C", str(CHECKOUT), "describe", "--always", "--dirty"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return told.stdout.strip() or "unknown"
