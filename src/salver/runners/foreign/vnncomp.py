"""Tools that have VNN-COMP's three scripts: `install_tool.sh`, `prepare_instance.sh`, `run_instance.sh`.

The folder holds the scripts, directly or in `vnncomp_scripts/`. The tool must be installed;
`install_tool.sh` is not run.
"""

from __future__ import annotations

import hashlib
import re
import sys
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar

from salver.families.instance import Instance
from salver.runners.answers import Answer, StagedInstance
from salver.runners.contract import Resources, Runner, answer_from_result_file
from salver.runners.foreign.revision import commit_of
from salver.runners.foreign.vnncomp_instance import PREPARE, RUN, UNPREPARED
from salver.supervise.finished import Finished, Limits

RESULT = "vnncomp_result.txt"
KILLS_BY_NAME = (
    re.compile(r"\b(pkill|killall\d*|skill|slay)\b"),
    re.compile(r"\bkill\s+-\S+\s+(\w+\s+)?-1\b"),
    re.compile(r"\bkill\b.*(\$\(|`).*\b(pgrep|pidof|ps)\b"),
    re.compile(r"\b(pgrep|pidof|ps)\b.*\|.*\bkill\b"),
    re.compile(r"\bfuser\b.*\s-\w*k"),
)


class VnnCompTool(Runner):
    """A tool with VNN-COMP's scripts.

    Attributes:
        prepares: whether `prepare_instance.sh` is run before every instance.
    """

    url = "https://github.com/VNN-COMP"
    resources = Resources(cpus=1, memory_mb=16000)
    devices = frozenset({"cpu", "cuda"})
    needs_home = True
    result_files = (RESULT,)
    several_networks = True
    prepares: ClassVar[bool] = True

    @property
    @abstractmethod
    def folder(self) -> Path:
        """Folder of the tool."""

    @property
    def scripts(self) -> Path:
        """Folder of the two scripts."""
        inner = self.folder / "vnncomp_scripts"
        return inner if inner.is_dir() else self.folder

    @property
    def called(self) -> tuple[str, ...]:
        """Names of the scripts that a run starts."""
        return (PREPARE, RUN) if self.prepares else (RUN,)

    def unavailable(self) -> str | None:
        if reason := super().unavailable():
            return reason
        for name in self.called:
            if not (self.scripts / name).is_file():
                return f"{self.scripts} has no {name}"
        for path in scripts_reached(self.scripts, self.called):
            for number, line in logical_lines(path.read_text(errors="replace")):
                if any(pattern.search(line) for pattern in KILLS_BY_NAME):
                    return f"{path}:{number} kills processes that it did not start: {line.strip()[:80]}"
        return None

    def version(self) -> str:
        """The scripts state none: a hash of them, and the commit where the tool is a git clone."""
        digest = hashlib.sha256()
        for path in scripts_reached(self.scripts, self.called):
            digest.update(path.name.encode() + path.read_bytes())
        commit = commit_of(self.folder)
        return f"scripts-{digest.hexdigest()[:8]}" + (f"+{commit}" if commit else "")

    def command(self, staged: StagedInstance, workdir: Path, limits: Limits) -> list[str]:
        return [
            sys.executable, "-m", "salver.runners.foreign.vnncomp_instance",
            *([] if self.prepares else [UNPREPARED]),
            str(self.scripts), staged.instance.suite, _networks(staged), str(staged.vnnlib),
            str(workdir / RESULT), f"{limits.wall_s:g}",
        ]  # fmt: skip

    def parse(self, instance: Instance, finished: Finished) -> Answer:
        return answer_from_result_file(finished, RESULT)


def _networks(staged: StagedInstance) -> str:
    """VNN-COMP's word for the networks of a query: a path, or a list of pairs of name and path."""
    if not staged.networks:
        return str(staged.onnx)
    return repr([(name, str(path)) for name, path in staged.networks.items()])


def scripts_reached(folder: Path, called: Iterable[str] = (PREPARE, RUN)) -> list[Path]:
    """The scripts called, and every script beside them that they mention, directly or through another."""
    present = {path.name: path for path in sorted(folder.glob("*.sh")) if path.is_file()}
    waiting, reached = list(called), []
    while waiting:
        path = present.pop(waiting.pop(0), None)
        if path is not None:
            reached.append(path)
            text = path.read_text(errors="replace")
            waiting += [name for name in present if name in text]
    return reached


def logical_lines(script: str) -> Iterator[tuple[int, str]]:
    """Lines of a shell script with their numbers: continuations joined, comment lines left out."""
    start, held = 0, ""
    for number, line in enumerate(script.splitlines(), start=1):
        start = start or number
        held += line.removesuffix("\\")
        if line.endswith("\\"):
            continue
        if not held.lstrip().startswith("#"):
            yield start, held
        start, held = 0, ""
    if held:
        yield start, held
