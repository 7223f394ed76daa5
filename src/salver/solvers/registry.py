"""The embedded solvers: one entry each, which the command line, the runners, `doctor` and the docs read.

Nothing heavy is imported here, and a solver's own module only by `EmbeddedSolver.load`: the time that
`salver-solve` takes to start counts as solving.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from salver.core.errors import SalverError, suggestion
from salver.core.packages import require_packages

if TYPE_CHECKING:
    from salver.solvers.query import Solver

DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class EmbeddedSolver:
    """One solver of this package.

    Attributes:
        name: of the command `salver-solve NAME` and of the runner.
        module: its function `solve` decides a query.
        about: what it is, in one line of Markdown.
        needs: importable modules without which it cannot run.
        complete: whether it decides every query given time; only then does its `unsat` count.
        certified: whether its `unsat` rests on certificates, and not on the word of a library.
        proves: whether an `unsat` can be followed by a proof (`salver.solvers.proving`).
        products: whether it knows products of a value and a piecewise constant factor other than a mask
            (`ProductBlock`). Where few inputs vary, boxes decide for it.
        devices: of `DEVICES`.
        backends: exact back ends to choose from, where there are several.
        parts: what can be left out for an ablation (`Options.without`); the verdicts stay the same.
        families: the only families of queries it is made for; empty for every query.
        cores: that a run takes where the user does not say.
        forks: whether its threads are processes of their own.
        by_default: whether it runs where no solvers are named.
    """

    name: str
    module: str
    about: str
    needs: tuple[str, ...]
    complete: bool = False
    certified: bool = False
    proves: bool = False
    products: bool = True
    devices: tuple[str, ...] = ("cpu",)
    backends: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    cores: int = 1
    forks: bool = False
    by_default: bool = True

    def load(self) -> Solver:
        """Its function `solve`; no other solver is imported.

        Raises:
            SalverError: a package it needs is missing; the command that brings it is named.
        """
        require_packages(self.needs, self.name)
        solver: Solver = importlib.import_module(self.module).solve
        return solver


SOLVERS = {
    solver.name: solver
    for solver in (
        EmbeddedSolver(
            name="falsify",
            module="salver.solvers.attack.falsify",
            about="sampling and projected gradient descent with a softplus surrogate for the flat gradient",
            needs=("onnxruntime", "scipy"),
        ),
        EmbeddedSolver(
            name="er-attack",
            module="salver.solvers.attack.er_attack",
            about="published attack on rankings: pushes the top-k entries down and all others up",
            needs=("onnxruntime", "scipy"),
            families=("topk_rank",),
            by_default=False,
        ),
        EmbeddedSolver(
            name="mse-attack",
            module="salver.solvers.attack.mse_attack",
            about="published attack on rankings: moves the saliency map as far as it goes",
            needs=("onnxruntime", "scipy"),
            families=("topk_rank",),
            by_default=False,
        ),
        EmbeddedSolver(
            name="crown",
            module="salver.solvers.crown.solver",
            about="auto_LiRPA bounds, branch and bound that decides mask and ReLU together; parts are closed "
            "by certificates alone",
            needs=("torch", "auto_LiRPA", "onnxruntime", "scipy"),
            complete=True,
            certified=True,
            proves=True,
            devices=("cpu", "cuda"),
        ),
        EmbeddedSolver(
            name="marabou",
            module="salver.solvers.marabou.solver",
            about="maraboupy with native ReLUs and a disjunction per undecided neuron, interval bounds; an "
            "`unsat` must come back in four units, and is claimed without a certificate",
            needs=("maraboupy", "onnxruntime", "scipy"),
            complete=True,
            products=False,
        ),
        EmbeddedSolver(
            name="milp",
            module="salver.solvers.milp.solver",
            about="one mixed-integer program, by HiGHS with SCIP to confirm `unsat`, or by SCIP alone "
            "(`--backend scip`); an `unsat` is claimed without a certificate",
            needs=("highspy", "pyscipopt", "onnxruntime", "scipy"),
            complete=True,
            proves=True,
            backends=("highs", "scip"),
        ),
        EmbeddedSolver(
            name="hybrid-paper",
            module="salver.solvers.hybrid_paper",
            about="CROWN bounds handed to Marabou with split-and-conquer, as published by Le et al. (ACML "
            "2024), on two workers; an `unsat` is claimed without a certificate",
            needs=("maraboupy", "auto_LiRPA", "onnxruntime", "scipy", "torch"),
            complete=True,
            products=False,
            cores=2,
        ),
        EmbeddedSolver(
            name="hybrid",
            module="salver.solvers.hybrid.solver",
            about="attack, bounds, the saliency condition read backwards, branching, exact leaves",
            needs=("highspy", "pyscipopt", "onnxruntime", "scipy"),
            complete=True,
            certified=True,
            proves=True,
            devices=("cpu", "cuda"),
            backends=("highs", "scip"),
            parts=(
                "attack",
                "reduction",
                "alternatives",
                "backward",
                "halfspaces",
                "relaxation",
                "probing",
                "backend",
                "classes",
                "inputs",
            ),
            forks=True,
        ),
    )
}
"""By name. A new solver is its module and an entry here."""


def embedded_solver(name: str) -> EmbeddedSolver:
    """The solver of that name.

    Raises:
        SalverError: there is none; a near name is suggested.
    """
    if name not in SOLVERS:
        raise SalverError("no such embedded solver", name, suggestion(name, [*SOLVERS, "check-proof"]))
    return SOLVERS[name]
