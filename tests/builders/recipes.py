"""The recipes of CONTRIBUTING.md: what each tells to write, and a copy of the project to do it in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.builders.tiny_suite import tiny_suite
from tests.conftest import ROOT

_FILE = re.compile(
    r"^`([^`\n]+)`([^\n]*):\n\n```(?:python|toml|markdown|text)\n(.*?)^```", re.MULTILINE | re.DOTALL
)
_PLACE = re.compile(r"below the line `([^`]+)`")
_CHECK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
_PYTEST = "python -m pytest "
_COPIED = ("src", "generators", "runners", "benchmarks", "tests", "docs")


class Recipe(NamedTuple):
    """What a section tells to write, and the command that it ends with.

    Attributes:
        files: text by path.
        places: the line below which it goes, by path; without one it is the whole file, or goes to its end.
    """

    files: dict[str, str]
    places: dict[str, str]
    check: str


def recipe(title: str) -> Recipe:
    """The section of CONTRIBUTING.md with this heading."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    section = re.split(r"^## ", text.partition(f"\n## {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    steps = _FILE.findall(section)
    places = {path: found[1] for path, said, _ in steps if (found := _PLACE.search(said))}
    return Recipe({path: text for path, _, text in steps}, places, _CHECK.findall(section)[-1])


def _with(before: str, text: str, place: str | None) -> str:
    """A file with the text put in: below a line that is there once, or at its end."""
    if place is None:
        return f"{before}\n\n{text}"
    assert before.count(f"{place}\n") == 1
    return before.replace(f"{place}\n", f"{place}\n{text}")


def _at_once(checks: Sequence[str]) -> str:
    """The commands of several recipes; their tests in one process, which imports torch once."""
    lines = [line for check in checks for line in check.splitlines(keepends=True)]
    files, words = dict[str, None](), dict[str, None]()
    for _, *rest in (line.split(_PYTEST) for line in lines if line.startswith(_PYTEST)):
        named, _, chosen = rest[0].strip().partition(" -k ")
        files |= dict.fromkeys(named.split())
        words |= dict.fromkeys([chosen] if chosen else [Path(name).stem for name in named.split()])
    tests = f"{_PYTEST}{' '.join(files)} -k '{' or '.join(words)}'\n"
    return tests + "".join(line for line in lines if not line.startswith(_PYTEST))


def followed(recipes: Sequence[Recipe], folder: Path) -> subprocess.CompletedProcess[str]:
    """Does what recipes say in one copy of the project, and runs their commands there.

    Of the suite on which solvers are tried there are four instances: to make all takes longer than the rest.
    """
    for name in _COPIED:
        # With what is compiled: each process would compile all of the package again.
        ignored = shutil.ignore_patterns("golden", "img")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    (folder / "benchmarks" / "bandit.toml").write_text(tiny_suite(2, [0.3], [0.5, 1.1]))
    for steps in recipes:
        for name, text in steps.files.items():
            path = folder / name
            path.write_text(_with(path.read_text(), text, steps.places.get(name)) if path.exists() else text)
    return subprocess.run(
        ["bash", "-euxc", _at_once([steps.check for steps in recipes])],
        cwd=folder, capture_output=True, text=True, check=False, timeout=600,
        env={
            **os.environ, "PYTHONPATH": f"{folder / 'src'}:{folder}", "SALVER_ROOT": str(folder),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
    )  # fmt: skip
