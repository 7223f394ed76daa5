"""Tools that follow the VNN-LIB standard's command line (VNN-LIB 2.0, chapter 5).

A tool is given VNN-LIB 2.0, or 1.0 when it says that it reads nothing newer.
"""

from __future__ import annotations

import functools
import math
import re
import shlex
import shutil
import subprocess
from abc import abstractmethod
from pathlib import Path

from salver.families.instance import Instance
from salver.runners.answers import Answer, Claim, StagedInstance
from salver.runners.contract import Resources, Runner, answer_from_words
from salver.supervise.finished import Finished, Limits, Termination

NETWORK = re.compile(r"\(\s*declare-network\s+([^\s()]+)")
NETWORK_OF_VNNLIB_1 = "N"
ASK_TIMEOUT_S = 120


class VnnLibTool(Runner):
    """A tool with the standard command line."""

    url = "https://www.vnnlib.org"
    resources = Resources(cpus=1, memory_mb=16000)
    devices = frozenset({"cpu", "cuda"})
    needs_home = True
    vnnlib_versions = ("2.0", "1.0")
    several_networks = True

    @property
    @abstractmethod
    def tool(self) -> tuple[str, ...]:
        """Argument vector that starts the tool."""

    def unavailable(self) -> str | None:
        if reason := super().unavailable():
            return reason
        if shutil.which(self.tool[0]) is None:
            exists = Path(self.tool[0]).is_file()
            hint = f"; make it one with `chmod +x {self.tool[0]}`" if exists else ""
            return f"{self.tool[0]} is not a program{hint}"
        if ask(*self.tool, "--version") is None:
            return f"`{shlex.join(self.tool)} --version` gives no answer, as the VNN-LIB standard demands"
        return None

    def version(self) -> str:
        lines = (ask(*self.tool, "--version") or "").split("\n")
        return lines[0].strip() or "unknown"

    def supports(self, instance: Instance) -> str | None:
        """Judges by the operators that the tool itself lists; one that lists none is given everything."""
        listed = ask(*self.tool, "supports", "--onnx-operators") or ""
        known = {line.split()[0] for line in listed.splitlines() if line.strip()}
        missing = sorted(set(instance.operators) - known) if known else []
        return f"operators not supported: {', '.join(missing)}" if missing else None

    def command(self, staged: StagedInstance, workdir: Path, limits: Limits) -> list[str]:
        query = staged.vnnlib2 if self.reads_vnnlib2() else staged.vnnlib
        declared = NETWORK.search(query.read_text(errors="replace"))
        alone = {declared[1] if declared else NETWORK_OF_VNNLIB_1: staged.onnx}
        named = [f"{name}={path}" for name, path in (staged.networks or alone).items()]
        seconds = max(1, math.floor(limits.wall_s))  # the standard knows whole seconds only
        return [
            *self.tool, "verify", str(query),
            *(word for network in named for word in ("--network", network)), "--timeout", str(seconds),
        ]  # fmt: skip

    def reads_vnnlib2(self) -> bool:
        """False where the tool is declared so, or lists its versions (oldest, newest) and all are older."""
        if "2.0" not in self.vnnlib_versions:
            return False
        listed = ask(*self.tool, "supports", "--vnnlib-versions") or ""
        majors = [int(found) for found in re.findall(r"^\s*(\d+)", listed, re.MULTILINE)]
        return not majors or max(majors) >= 2

    def parse(self, instance: Instance, finished: Finished) -> Answer:
        answer = answer_from_words(finished.stdout)
        if answer.claim is not Claim.NONE or finished.termination is not Termination.EXITED:
            return answer
        last = finished.stderr.strip().splitlines()[-1:] or [answer.reason]
        return Answer(claim=Claim.ERROR, reason=last[0][:200])


@functools.cache
def ask(*command: str) -> str | None:
    """What a tool answers about itself; None when it fails, says nothing or exceeds `ASK_TIMEOUT_S`."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace",
            stdin=subprocess.DEVNULL, timeout=ASK_TIMEOUT_S, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
