"""The runner contract: a solver is one small declarative file.

A runner says what its tool is, needs and supports, how to call it and how to read what it printed.
It never runs, times, kills or judges anything itself (the engine does), after BenchExec's `tools/*.py`.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from salver.core.packages import missing_packages
from salver.core.records import Record
from salver.explain.explanation import Form
from salver.families.instance import Instance
from salver.runners.answers import Answer, Claim, StagedInstance
from salver.spec import Norm
from salver.supervise.finished import Finished, Limits, Termination

CANONICAL_OPERATORS = frozenset(
    "Gemm MatMul Add Sub Mul Conv ConvTranspose Relu Sign Abs Flatten Reshape Concat AveragePool "
    "ReduceMean".split()
)

VERDICT_WORDS = {
    "sat": Claim.SAT,
    "violated": Claim.SAT,
    "unsat": Claim.UNSAT,
    "holds": Claim.UNSAT,
    "unknown": Claim.UNKNOWN,
    "timeout": Claim.TIMEOUT,
    "timed-out": Claim.TIMEOUT,
    "error": Claim.ERROR,
}


class Resources(Record):
    """What one run of a solver asks of the machine."""

    cpus: int = Field(default=1, gt=0)
    memory_mb: int = Field(default=4000, gt=0)


class Runner(ABC):
    """Declares one solver. Class attributes are data the engine reads; methods are pure.

    Attributes:
        name: key of the solver in commands and tables.
        url: where the tool lives.
        needs: importable Python modules the tool needs, checked without importing them.
        environment_variables: variables that must name an existing folder, such as `ABCROWN_HOME`.
        resources: cores, memory and GPUs of one run.
        operators: ONNX operators the tool accepts; an instance with others is `unsupported`.
        products: whether the tool takes products of a value and a factor that is no mask.
        devices: `cpu`, `cuda`.
        vnnlib_versions: VNN-LIB versions the tool reads; the first is what it is given.
        several_networks: whether it takes queries over several networks.
        norms: of the input sets that it takes: `linf` for boxes, `l2` for boxes cut to a ball, whose text
            has squares.
        result_files: file names in the working directory whose text is handed to `parse`.
        complete: whether the tool decides every instance given time.
        proof_file: result file with a proof of an `unsat` (`salver.proofs`), for tools that can write one.
        exit_codes: statuses beside 0 that are no error of the tool, such as 1 for whatever is not `unsat`.
            They are recorded as 0. An `unsat` needs 0 all the same.
        by_default: whether `run` uses it when no solvers are named.
        needs_home: whether a run sees the user's HOME, for tools that keep a licence or their installation
            there; others get an empty one, which is removed after the run.
    """

    name: ClassVar[str]
    url: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ()
    environment_variables: ClassVar[tuple[str, ...]] = ()
    resources: ClassVar[Resources] = Resources()
    operators: ClassVar[frozenset[str]] = CANONICAL_OPERATORS
    products: ClassVar[bool] = True
    devices: ClassVar[frozenset[str]] = frozenset({"cpu"})
    vnnlib_versions: ClassVar[tuple[str, ...]] = ("1.0",)
    several_networks: ClassVar[bool] = False
    norms: ClassVar[frozenset[Norm]] = frozenset(("linf",))
    result_files: ClassVar[tuple[str, ...]] = ()
    complete: ClassVar[bool] = False
    proof_file: ClassVar[str] = ""
    exit_codes: ClassVar[frozenset[int]] = frozenset()
    by_default: ClassVar[bool] = True
    needs_home: ClassVar[bool] = False

    def __init__(self, device: str = "cpu", proofs: bool = False) -> None:
        """Args: proofs: a proof of every `unsat` is asked for, where the tool has a `proof_file`."""
        self.device = device
        self.proofs = proofs and bool(self.proof_file)

    def unavailable(self) -> str | None:
        """Everything that keeps the tool from running here, or None when it can run. Imports nothing."""
        lacking = missing_packages(self.needs)
        for variable in self.environment_variables:
            folder = os.environ.get(variable, "")
            if not folder:
                lacking.append(f"{variable} is not set")
            elif not Path(folder).is_dir():
                lacking.append(f"{variable}={folder} is not a folder")
        if self.device not in self.devices:
            lacking.append(f"runs on {', '.join(sorted(self.devices))} only, not on {self.device}")
        return "; ".join(lacking) or None

    @classmethod
    def takes(cls, form: Form) -> bool:
        """Whether the tool takes graphs of a form, by what it declares."""
        needed = set() if form is Form.FORWARD else {"Sign", "Mul"}
        return needed <= cls.operators and (form is not Form.PRODUCTS or cls.products)

    @abstractmethod
    def version(self) -> str:
        """Version of the tool; part of a job's identity."""

    def supports(self, instance: Instance) -> str | None:
        """Why the tool cannot take this instance, or None when it can.

        A tool that does not say what operators it takes is given every network of somebody else's set.
        """
        if instance.facts is None and self.operators == CANONICAL_OPERATORS:
            return None
        return self._lacking(set(instance.operators) - self.operators)

    def _lacking(self, operators: set[str]) -> str | None:
        return f"operators not supported: {', '.join(sorted(operators))}" if operators else None

    @abstractmethod
    def command(self, staged: StagedInstance, workdir: Path, limits: Limits) -> list[str]:
        """Argument vector of one run; no shell is involved."""

    def environment(self, limits: Limits) -> dict[str, str]:
        """Variables added to the run's environment."""
        return {}

    @abstractmethod
    def parse(self, instance: Instance, finished: Finished) -> Answer:
        """What the solver said. Pure, so stored logs can be judged again."""


def why_unsupported(runner: Runner, instance: Instance) -> str | None:
    """Why a solver cannot take an instance, by what it declares or says itself; None when it can."""
    if instance.networks and not runner.several_networks:
        return "takes queries over one network only"
    if not instance.versions & set(runner.vnnlib_versions):
        read, written = " and ".join(runner.vnnlib_versions), " and ".join(sorted(instance.versions))
        return f"reads VNN-LIB {read}, the query is in {written}"
    explanation = instance.facts and instance.facts.explanation
    if explanation and explanation.form is Form.PRODUCTS and not runner.products:
        return "products of values are not supported"
    if instance.facts is not None and instance.facts.norm not in runner.norms:
        return "takes boxes of inputs only, not balls"
    return runner.supports(instance)


def answer_from_words(text: str) -> Answer:
    """Reads `sat|unsat|unknown|timed-out|...` on the first line, then the witness (either VNN-LIB form)."""
    first, _, rest = text.lstrip().partition("\n")
    claim = VERDICT_WORDS.get(first.strip().lower())
    if claim is None:
        return Answer(claim=Claim.NONE, reason=f"no verdict in the first line {first[:60]!r}")
    witness = rest.strip() if claim is Claim.SAT else ""
    return Answer(
        claim=claim, witness=witness or None, reason="" if claim is Claim.SAT else rest.strip()[:200]
    )


def answer_from_result_file(finished: Finished, name: str) -> Answer:
    """Reads a result file as `answer_from_words`; a run that ended by itself without one is in error."""
    text = finished.files.get(name, "")
    if text.strip():
        return answer_from_words(text)
    if finished.termination is not Termination.EXITED:
        return Answer(claim=Claim.NONE, reason="stopped before it wrote a result")
    last = finished.stderr.strip().splitlines()[-1:] or ["no result file"]
    return Answer(claim=Claim.ERROR, reason=last[0][:200])
