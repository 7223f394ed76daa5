"""Which code was measured."""

from __future__ import annotations

import subprocess

from salver import __version__
from salver.core.project import CHECKOUT


def revision() -> str:
    """`commit 0123abcd`, `, changed` where files are; the version alone where there is no git checkout."""
    found = _git("rev-parse", "--short=8", "HEAD")
    if not found:
        return f"salver {__version__}"
    return f"commit {found}{', changed' if _git('status', '--porcelain', '--untracked-files=no') else ''}"


def _git(*words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(CHECKOUT), *words], check=False, capture_output=True, text=True
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
