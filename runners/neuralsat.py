"""NeuralSAT: DPLL(T) over the signs of neurons, with bounds. `salver solvers install neuralsat` gets it."""

from __future__ import annotations

from pathlib import Path

from salver.foreign.environments import installed, packages_of, program_of
from salver.model import Answer, Claim, Finished, Instance, Limits, StagedInstance, Termination
from salver.runner import Resources, Runner, answer_from_words

NAME = "neuralsat"
RESULTS = "neuralsat_results.txt"


class NeuralSat(Runner):
    """Called by its own script, as its authors do: the package installs no command."""

    name = NAME
    url = "https://github.com/dynaroars/neuralsat"
    resources = Resources(cpus=1, memory_mb=16000)
    devices = frozenset({"cpu", "cuda"})
    by_default = False
    result_files = (RESULTS,)

    def unavailable(self) -> str | None:
        if installed(NAME) is None:
            return f"is not installed; run `salver solvers install {NAME}`"
        return super().unavailable()

    def version(self) -> str:
        done = installed(NAME)
        return done.own["neuralsat"] if done else "none"

    def command(self, staged: StagedInstance, workdir: Path, limits: Limits) -> list[str]:
        return [
            str(program_of(NAME)), str(packages_of(NAME) / "src" / "main.py"),
            "--net", str(staged.onnx), "--spec", str(staged.vnnlib), "--timeout", f"{limits.wall_s:g}",
            "--device", self.device, "--result_file", str(workdir / RESULTS), "--export_cex",
        ]  # fmt: skip

    def environment(self, limits: Limits) -> dict[str, str]:
        return dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(limits.cores))

    def parse(self, instance: Instance, finished: Finished) -> Answer:
        text = finished.files.get(RESULTS, "")
        if text.strip():
            return answer_from_words(text)
        if finished.termination is not Termination.EXITED:
            return Answer(claim=Claim.NONE, reason="stopped before it wrote a result")
        last = finished.stderr.strip().splitlines()[-1:] or ["no results file"]
        return Answer(claim=Claim.ERROR, reason=last[0][:200])
