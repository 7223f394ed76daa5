"""Which commit a tool's folder is at, for the version of tools that state none."""

from __future__ import annotations

from pathlib import Path


def commit_of(folder: Path) -> str:
    """First 8 digits of the commit checked out in `folder` or a folder above it; empty outside a git clone.

    Reads git's files directly: a tool may be on a machine without git, or owned by another user.
    """
    for above in (folder, *folder.parents):
        if (above / ".git" / "HEAD").is_file():
            return _resolved(above / ".git")[:8]
    return ""


def _resolved(git: Path) -> str:
    head = (git / "HEAD").read_text().strip()
    if not head.startswith("ref: "):
        return head
    branch = head.removeprefix("ref: ")
    if (git / branch).is_file():
        return (git / branch).read_text().strip()
    packed = git / "packed-refs"
    lines = packed.read_text().splitlines() if packed.is_file() else []
    return next((line.split()[0] for line in lines if line.endswith(f" {branch}")), "")
