"""Marabou in a process of its own: `python -m salver.solvers.marabou.child PARENT_PID FOLDER`.

maraboupy holds the interpreter lock while it solves, ignores SIGTERM and often its own time limit, so
the only safe place for it is a process that can be killed. It reads one pickled `LinearQuery` from stdin
and writes one JSON line to stdout. FOLDER is where Marabou may leave its dump when it fails. Neither numpy
nor the rest of salver is imported: starting must be cheap.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import pickle
import signal
import sys
from dataclasses import dataclass
from typing import Any, Literal

PR_SET_PDEATHSIG = 1

Bound = tuple[int, Literal["<=", ">="], float]
"""variable, relation, constant."""


@dataclass(frozen=True)
class LinearQuery:
    """What Marabou is asked: is there an assignment that satisfies all of this?

    Attributes:
        inputs: (factor, shift); input i of the network is factor * variable i + shift.
        lower, upper: finite bounds of every variable.
        equations: (coefficients, variables, constant); no variable twice.
        relus: pairs (z, a) with a = max(z, 0).
        disjunctions: each a list of disjuncts, each a list of bounds.
        workers: above 1, split-and-conquer with that many threads.
    """

    inputs: list[tuple[float, float]]
    lower: list[float]
    upper: list[float]
    equations: list[tuple[list[float], list[int], float]]
    relus: list[tuple[int, int]]
    disjunctions: list[list[list[Bound]]]
    workers: int = 1

    def check(self) -> None:
        """Refuses what Marabou would answer wrongly in silence.

        Raises:
            ValueError: a number that is not finite, crossed bounds, or a variable twice in one equation.
        """
        for low, high in zip(self.lower, self.upper, strict=True):
            if not (math.isfinite(low) and math.isfinite(high) and low <= high):
                raise ValueError(f"bounds {low} ... {high}")
        for coefficients, variables, constant in self.equations:
            finite = all(map(math.isfinite, [*coefficients, constant]))
            if not finite or len(set(variables)) != len(variables):
                raise ValueError("an equation with a repeated variable or a number that is not finite")
        for disjunction in self.disjunctions:
            if not all(math.isfinite(constant) for part in disjunction for _, _, constant in part):
                raise ValueError("a disjunct with a number that is not finite")


def to_marabou(query: LinearQuery) -> Any:
    """The query as a `MarabouCore.InputQuery`."""
    from maraboupy import MarabouCore

    relations = {"<=": MarabouCore.Equation.LE, ">=": MarabouCore.Equation.GE}
    built = MarabouCore.InputQuery()
    built.setNumberOfVariables(len(query.lower))
    for variable in range(len(query.inputs)):
        built.markInputVariable(variable, variable)
    for variable, (low, high) in enumerate(zip(query.lower, query.upper, strict=True)):
        built.setLowerBound(variable, low)
        built.setUpperBound(variable, high)
    for coefficients, variables, constant in query.equations:
        equation = MarabouCore.Equation(MarabouCore.Equation.EQ)
        for coefficient, variable in zip(coefficients, variables, strict=True):
            equation.addAddend(coefficient, variable)
        equation.setScalar(constant)
        built.addEquation(equation)
    for z, a in query.relus:
        MarabouCore.addReluConstraint(built, z, a)
    for disjunction in query.disjunctions:
        disjuncts: list[list[Any]] = []
        for part in disjunction:
            disjuncts.append([])
            for variable, relation, constant in part:
                bound = MarabouCore.Equation(relations[relation])
                bound.addAddend(1.0, variable)
                bound.setScalar(constant)
                disjuncts[-1].append(bound)
        MarabouCore.addDisjunctionConstraint(built, disjuncts)
    return built


def ask(query: LinearQuery) -> dict[str, Any]:
    """Solves without a time limit: {"verdict": Marabou's word, "x": the network's inputs, of a sat}."""
    from maraboupy import MarabouCore

    query.check()
    options = MarabouCore.Options()
    options._verbosity = 0
    options._numWorkers = query.workers
    options._snc = query.workers > 1
    # `auto` halves the input box for ever where z = 0 runs through it.
    options._splittingStrategy = "pseudo-impact"
    word, values, _ = MarabouCore.solve(to_marabou(query), options, "")
    if word != "sat":
        return {"verdict": word}
    return {
        "verdict": word,
        "x": [factor * values[i] + shift for i, (factor, shift) in enumerate(query.inputs)],
    }


def main() -> int:
    """Entry point of the process."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(sys.argv[1]):
        return 1
    os.chdir(sys.argv[2])
    query = pickle.load(sys.stdin.buffer)
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        answers.write(json.dumps(ask(query)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
