"""NeuralSAT: DPLL(T) over the signs of neurons, with bounds. `salver solvers install neuralsat` gets it."""

from __future__ import annotations

from pathlib import Path

from salver.families.instance import Instance
from salver.runners.answers import Answer, StagedInstance
from salver.runners.contract import Resources, answer_from_result_file
from salver.runners.foreign.environments import InstalledTool, packages_of, program_of
from salver.supervise.finished import Finished, Limits

NAME = "neuralsat"
RESULTS = "neuralsat_results.txt"


class NeuralSat(InstalledTool):
    """Called by its own script, as its authors do: the package installs no command."""

    name = package = NAME
    url = "https://github.com/dynaroars/neuralsat"
    resources = Resources(cpus=1, memory_mb=16000)
    devices = frozenset({"cpu", "cuda"})
    result_files = (RESULTS,)

    def command(self, staged: StagedInstance, workdir: Path, limits: Limits) -> list[str]:
        return [
            str(program_of(NAME)), str(packages_of(NAME) / "src" / "main.py"),
            "--net", str(staged.onnx), "--spec", str(staged.vnnlib), "--timeout", f"{limits.wall_s:g}",
            "--device", self.device, "--result_file", str(workdir / RESULTS), "--export_cex",
        ]  # fmt: skip

    def parse(self, instance: Instance, finished: Finished) -> Answer:
        return answer_from_result_file(finished, RESULTS)
