"""vibecheck: bounds with branch and bound, by the author of nnenum. A separate program under GPL-3.

`salver solvers install vibecheck` gets it. It is given VNN-LIB 2.0 only: to a query in 1.0 with several
assertions about the output, version 1.1.0 answers sat with points that violate some of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from salver.families.instance import Instance
from salver.runners.answers import StagedInstance
from salver.runners.contract import CANONICAL_OPERATORS, Runner
from salver.runners.foreign.environments import InstalledTool, program_of
from salver.runners.foreign.vnnlib_cli import VnnLibTool
from salver.supervise.finished import Limits

NAME = "vibecheck"


class VibeCheck(InstalledTool, VnnLibTool):
    """Incomplete on saliency queries: `unknown` where its bounds do not suffice."""

    name = NAME
    package = "vibecheck-nn"
    url = "https://github.com/stanleybak/vibecheck-nn"
    operators: ClassVar = CANONICAL_OPERATORS - {"Abs", "ReduceMean"}
    vnnlib_versions = ("2.0",)
    exit_codes = frozenset({1})  # version 1.1.0 ends with 0 after `unsat` alone, and with 2 after an error

    @property
    def tool(self) -> tuple[str, ...]:
        return (str(program_of(NAME, "vibecheck")),)

    def supports(self, instance: Instance) -> str | None:
        return Runner.supports(self, instance)

    def command(self, staged: StagedInstance, workdir: Path, limits: Limits) -> list[str]:
        device = {"cuda": "gpu"}.get(self.device, self.device)
        return [*super().command(staged, workdir, limits), "--device", device]
