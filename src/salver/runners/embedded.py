"""The runners of the embedded solvers: each is called through its stand-alone command `salver-solve`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar

from salver import __version__
from salver.explain.explanation import Form
from salver.families.instance import Instance
from salver.runners.answers import Answer, StagedInstance
from salver.runners.contract import Resources, Runner, answer_from_words
from salver.solvers.registry import SOLVERS, EmbeddedSolver
from salver.supervise.finished import Finished, Limits

PROOF_FILE = "unsat.proof"


class EmbeddedRunner(Runner):
    """Calls a solver of this package; `embedded_runner` makes one class for each.

    Attributes:
        families: those the solver is made for; empty means every one.
    """

    url = "https://salver.readthedocs.io"
    vnnlib_versions = ("1.0", "2.0")
    several_networks = True
    norms = frozenset(("linf", "l2"))
    families: ClassVar[tuple[str, ...]] = ()

    def supports(self, instance: Instance) -> str | None:
        from salver.nets.onnx.reader import SUPPORTED

        reason = self._lacking(set(instance.operators) - SUPPORTED)
        if reason or not self.families or instance.family in self.families:
            return reason
        return f"made for {', '.join(sorted(self.families))}, not for {instance.family}"

    @classmethod
    def takes(cls, form: Form) -> bool:
        return not cls.families and super().takes(form)

    def version(self) -> str:
        return __version__

    def command(self, staged: StagedInstance, workdir: Path, limits: Limits) -> list[str]:
        return [
            sys.executable, "-m", "salver.solvers", self.name, "verify", str(staged.vnnlib),
            *(word for network in staged.named_networks for word in ("--network", network)),
            "--timeout", f"{limits.wall_s:g}",
            "--threads", str(limits.cores), "--device", self.device,
            *(["--proof", str(workdir / self.proof_file)] if self.proofs else []),
        ]  # fmt: skip

    def environment(self, limits: Limits) -> dict[str, str]:
        threads = str(limits.cores)
        return {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}

    def parse(self, instance: Instance, finished: Finished) -> Answer:
        return answer_from_words(finished.stdout)


def embedded_runner(solver: EmbeddedSolver) -> type[EmbeddedRunner]:
    """The runner class that a registry entry declares."""
    attributes = {
        "__module__": __name__,
        "__doc__": solver.about,
        "name": solver.name,
        "needs": solver.needs,
        "products": solver.products,
        "devices": frozenset(solver.devices),
        "complete": solver.complete,
        "families": solver.families,
        "resources": Resources(cpus=solver.cores),
        "proof_file": PROOF_FILE if solver.proves else "",
        "by_default": solver.by_default,
    }
    return type(f"Embedded_{solver.name}", (EmbeddedRunner,), attributes)


def embedded_runners() -> list[type[EmbeddedRunner]]:
    """One runner class for each embedded solver."""
    return [embedded_runner(solver) for solver in SOLVERS.values()]
