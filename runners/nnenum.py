"""nnenum: exact enumeration of ReLU networks by star sets, called by its VNN-COMP scripts.

`NNENUM_HOME` names its checkout; `salver solvers install nnenum` makes the environment. Its
`prepare_instance.sh` kills every python3 of the machine and is left out. It has no Sign: of our families it
takes the queries about the label alone.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import ClassVar

from salver.families.instance import Instance
from salver.runners.answers import Answer, Claim
from salver.runners.foreign.environments import installed, program_of
from salver.runners.foreign.vnncomp import VnnCompTool
from salver.supervise.finished import Finished, Limits

NAME = "nnenum"
MOST_SHOWN = 10
POINT = re.compile(r"^Input: \[(.*)\]$", re.MULTILINE)
NUMBER = re.compile(r"[-+]?\d[\d.]*(?:[eE][-+]?\d+)?")


class Nnenum(VnnCompTool):
    """Its results file says `violated` alone; the point is on its output."""

    name = NAME
    url = "https://github.com/stanleybak/nnenum"
    environment_variables = ("NNENUM_HOME",)
    operators: ClassVar = frozenset("AveragePool Conv Flatten Gemm MatMul Relu Reshape".split())
    devices = frozenset({"cpu"})
    by_default = False
    prepares = False
    complete = True

    @property
    def folder(self) -> Path:
        return Path(os.environ.get("NNENUM_HOME", "")).absolute()

    def unavailable(self) -> str | None:
        if reason := super().unavailable():
            return reason
        if installed(NAME) is None:
            return f"has no environment; run `salver solvers install {NAME}`"
        return None

    def supports(self, instance: Instance) -> str | None:
        if instance.input_size > MOST_SHOWN:
            return f"shows no counterexample of more than {MOST_SHOWN} inputs"
        return super().supports(instance)

    def environment(self, limits: Limits) -> dict[str, str]:
        return {"PATH": os.pathsep.join((str(program_of(NAME).parent), os.environ.get("PATH", "")))}

    def parse(self, instance: Instance, finished: Finished) -> Answer:
        answer = super().parse(instance, finished)
        found = POINT.search(finished.stdout)
        if answer.claim is not Claim.SAT or answer.witness or found is None:
            return answer
        entries = NUMBER.findall(re.sub(r"np\.float\d+", "", found[1]))
        witness = "\n".join(f"(X_{i} {entry})" for i, entry in enumerate(entries))
        return answer.model_copy(update={"witness": f"({witness})"})
