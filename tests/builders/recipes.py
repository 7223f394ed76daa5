"""The recipes of CONTRIBUTING.md: what each tells to write, and a copy of the project to do it in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tests.conftest import ROOT

_FILE = re.compile(r"^`([^`\n]+)`[^\n]*:\n\n```(?:python|toml|markdown)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_CHECK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
_COPIED = ("src", "generators", "runners", "benchmarks", "tests", "docs")


class Recipe(NamedTuple):
    """Files by path as a section tells to write them, and the command that it ends with."""

    files: dict[str, str]
    check: str


def recipe(title: str) -> Recipe:
    """The section of CONTRIBUTING.md with this heading."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    section = re.split(r"^## ", text.partition(f"\n## {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    return Recipe(dict(_FILE.findall(section)), _CHECK.findall(section)[-1])


def followed(steps: Recipe, folder: Path) -> subprocess.CompletedProcess[str]:
    """Does what a recipe says in a copy of the project, and runs its command there.

    A file that the recipe names and that is there already gets the text at its end.
    """
    for name in _COPIED:
        ignored = shutil.ignore_patterns("__pycache__", "golden", "img")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name, text in steps.files.items():
        path = folder / name
        path.write_text((path.read_text() + "\n\n" if path.exists() else "") + text)
    return subprocess.run(
        ["bash", "-euc", steps.check],
        cwd=folder, capture_output=True, text=True, check=False, timeout=300,
        env={
            **os.environ, "PYTHONPATH": f"{folder / 'src'}:{folder}", "SALVER_ROOT": str(folder),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
    )  # fmt: skip
