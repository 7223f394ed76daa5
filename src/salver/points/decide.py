"""One query decided in this process: the verdict, and the clearest counterexample that is found."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from salver.core.errors import SalverError
from salver.families.factory import Box
from salver.families.search import inside, largest
from salver.nets.onnx.writer import to_bytes, to_model
from salver.points.limit import TimeOverError, stopped_after
from salver.points.options import Solving
from salver.points.point_question import PointQuestion, unsupported_in_one_line
from salver.solvers.query import Budget, Options, Query, Result, Verdict, read_query
from salver.solvers.registry import EmbeddedSolver, embedded_solver
from salver.spec import Ball, Norm, float32_down, float32_up, norm_of
from salver.spec.write import to_vnnlib1

Array = npt.NDArray[np.float64]
NEARER_ROUNDS, NEARER_STEPS = 4, 32
"""How often, and in how many steps, the way to a counterexample is walked."""
AGREEMENT = 1e-4
"""Difference between a map and the same from its definition, relative to its largest entry."""
SINGLE = 1e-6
"""The same relative to what an entry is added up from: differences of logits may have few digits left."""


class Robustness(StrEnum):
    """What is known about an explanation within a radius."""

    ROBUST = "robust"
    NOT_ROBUST = "not robust"
    UNDECIDED = "undecided"


@dataclass(frozen=True, eq=False)
class Decided:
    """The answer to one query.

    Attributes:
        witness: counterexample [n], replayed in ONNX Runtime; of an undecided answer it is beyond the radius.
        outputs: what the query's network gives there.
        margin: by how much the counterexample meets the condition.
        reason: why nothing was decided.
        result: as the solver gave it.
    """

    robustness: Robustness
    result: Result
    witness: Array | None = None
    outputs: Array | None = None
    margin: float = 0.0
    reason: str = ""


@dataclass(frozen=True, eq=False)
class QueryFolder:
    """The two files of a question in a folder, as any solver and the checker of proofs read them."""

    asked: PointQuestion
    folder: Path

    @property
    def onnx(self) -> Path:
        """The network X -> [logits, map, ...]."""
        return self.folder / "query.onnx"

    @property
    def vnnlib(self) -> Path:
        """The property of the radius that was asked about last."""
        return self.folder / "query.vnnlib"

    def asking(self, asked: PointQuestion) -> QueryFolder:
        """Another question about the same graph; what was read of its file is kept."""
        other = replace(self, asked=asked)
        if "_query" in self.__dict__:
            other.__dict__["_query"] = self._query
        return other

    def at(self, epsilon: float) -> Query:
        """The query for the inputs within a radius; `vnnlib` then holds its property.

        Raises:
            SalverError: the radius is not positive and finite.
        """
        prop = self.asked.posed.within(epsilon)
        self.vnnlib.write_text(to_vnnlib1(prop))
        return self._query.asking(prop)

    @cached_property
    def _query(self) -> Query:
        posed = self.asked.posed
        self.onnx.write_bytes(to_bytes(to_model(posed.graph)))
        return read_query(self.onnx, self.vnnlib)


def decide(
    staged: QueryFolder,
    epsilon: float,
    solving: Solving,
    budget: Budget,
    *,
    record: bool = False,
    nearest: bool = False,
) -> Decided:
    """Decides with an embedded solver, in this process, what there is within a radius.

    Args:
        record: keep what a proof can use.
        nearest: of the counterexamples found take one near the point, and not the clearest.

    Raises:
        SalverError: the solver does not take the network, or needs a package that is missing.
    """
    asked, solver = staged.asked, embedded_solver(solving.solver)
    with unsupported_in_one_line(solver.name):
        query = staged.at(epsilon)
    if not all(query.prop.clauses):
        return Decided(Robustness.ROBUST, Result(Verdict.UNSAT, reason="no other class exists"))
    _refuse_wrong_graph(asked, query)
    result = _solved(solver, query, budget, Options(seed=solving.seed, record=record))
    if result.verdict is Verdict.SAT and result.witness is not None:
        region = inner_region(asked, epsilon)
        witness = brought_within(query, result.witness, *region)
        with contextlib.suppress(TimeOverError), stopped_after(budget.left), threadpool_limits(1):
            if nearest:
                witness = nearer(query, witness, asked.posed.point.centre, asked.norm)
            else:
                witness = clearer(query, witness, *region, solving.seed)
        return _with_witness(query, asked, epsilon, result, witness)
    if result.verdict is Verdict.UNSAT and solver.certified:
        return Decided(Robustness.ROBUST, result)
    if result.verdict is Verdict.UNSAT and solver.complete:
        reason = f"{solver.name} claims that there is none, without a certificate; a checked proof would do"
        return Decided(Robustness.UNDECIDED, result, reason=reason)
    return Decided(Robustness.UNDECIDED, result, reason=result.reason)


def _solved(solver: EmbeddedSolver, query: Query, budget: Budget, options: Options) -> Result:
    """What the solver says, or that it had to be stopped."""
    # The matrices are small: threads of linear algebra only get in each other's way. What solvers say of
    # their search is for logs.
    with (
        threadpool_limits(1),
        contextlib.redirect_stderr(io.StringIO()),
        unsupported_in_one_line(solver.name),
    ):
        try:
            with stopped_after(budget.left):
                return solver.load()(query, budget, options)
        except TimeOverError:
            return Result(Verdict.TIMED_OUT, reason="stopped when its time was over")


def _with_witness(
    query: Query, asked: PointQuestion, epsilon: float, result: Result, witness: Array
) -> Decided:
    """A `sat` with its counterexample [n], unless the map's definition contradicts it.

    A query is rounded outwards to binary32, which for large inputs is far: what lies beyond the radius shows
    nothing within it.
    """
    outputs = query.replay(witness)
    if off := _off(asked, query, witness, outputs):
        reason = f"the map at the solver's counterexample is {off:.3g} off its definition"
        return Decided(Robustness.UNDECIDED, result, reason=reason)
    found = replace(result, witness=witness), witness, outputs, float(query.prop.margin(outputs))
    away = float(norm_of(witness - asked.posed.point.centre, asked.norm))
    if away > epsilon:
        reason = f"a counterexample was found {away:.4g} away, which single precision rounds into the box"
        return Decided(Robustness.UNDECIDED, *found, reason)
    return Decided(Robustness.NOT_ROBUST, *found)


def inner_region(asked: PointQuestion, epsilon: float) -> tuple[Box, Ball | None]:
    """Box [n], [n] and ball rounded inwards: the query's, rounded outwards, hold inputs that are farther."""
    centre, (low, high) = asked.posed.point.centre, asked.given.limits
    least = float32_up(np.maximum(centre - epsilon, low))
    most = float32_down(np.minimum(centre + epsilon, high))
    # Of a radius such as 0.35 - 0.1 a sum is rounded to a number of binary32, which is farther.
    least = float32_up(np.where(centre - least > epsilon, np.nextafter(least, np.inf), least))
    most = float32_down(np.where(most - centre > epsilon, np.nextafter(most, -np.inf), most))
    inner = Ball(centre, float(float32_down(epsilon * epsilon))) if asked.norm == "l2" else None
    return (least, most), inner


def brought_within(query: Query, witness: Array, box: Box, ball: Ball | None = None) -> Array:
    """The counterexample [n] of a box, and of a ball, next to one beside them; that one where it is none."""
    moved = query.confirm(inside(witness[None], box, ball)[0])
    return witness if moved is None else moved


def clearer(query: Query, witness: Array, box: Box, ball: Ball | None = None, seed: int = 0) -> Array:
    """A counterexample [n] that meets the condition by more, where a short search finds one.

    It lies in a box, and in a ball where one is given. Solvers stop where the condition is just met. What is
    returned was confirmed as theirs is.
    """

    def score(points: Array) -> Array:
        return query.prop.margin(query.program.evaluate(points)[0])

    start = inside(witness[None], box, ball)[0]
    found = largest(score, *box, start, seed, ball)
    confirmed = [query.confirm(x) for x in (found.point, start) if x is not None]
    better = [x for x in confirmed if x is not None]
    return max(better, key=lambda x: float(query.prop.margin(query.replay(x))), default=witness)


def nearer(query: Query, witness: Array, centre: Array, norm: Norm = "linf") -> Array:
    """A counterexample [n] on the way from the point to one: the first of them that is confirmed."""
    best = witness
    for _ in range(NEARER_ROUNDS):
        shares = np.linspace(0.0, 1.0, NEARER_STEPS + 1)[:, None]
        way = centre + shares * (best - centre)
        way = np.stack([query.clip(x) for x in way])
        margins = query.prop.margin(query.program.evaluate(way)[0])
        confirmed = (query.confirm(x) for x, margin in zip(way, margins, strict=True) if margin >= 0)
        found = next((x for x in confirmed if x is not None), None)
        if found is None or norm_of(found - centre, norm) >= norm_of(best - centre, norm):
            break
        best = found
    return best


def _refuse_wrong_graph(asked: PointQuestion, query: Query) -> None:
    centre = asked.posed.point.centre
    if (off := _off(asked, query, centre, query.replay(centre))) and not query.on_kink(centre):
        what = f"the map is {off:.3g} off its definition at the point"
        raise SalverError(what, asked.subject.name, "this is a fault of salver: please report the network")


def _off(asked: PointQuestion, query: Query, x: Array, outputs: Array) -> float:
    """By how much the map among outputs is off the same without the graph at x [n]; 0 within rounding."""
    first = asked.posed.map.logits
    rows = slice(first, first + len(asked.posed.reference))
    expected = map_by_definition(asked, x)
    distances = np.abs(outputs[rows] - expected)
    rounding = query.program.rounding(x, SINGLE)[rows]
    allowed = np.maximum(AGREEMENT * np.abs(expected).max(initial=0.0), rounding)
    return float(distances.max(initial=0.0)) if (distances > allowed).any() else 0.0


def map_by_definition(asked: PointQuestion, x: Array) -> Array:
    """The map [s] at x [n] in double precision and without the graph; empty for a question without a map.

    Automatic differentiation is asked only where there is no other way: importing torch takes longer than
    deciding many queries.
    """
    explanation = asked.posed.map.explanation
    if explanation is None:
        return np.empty(0)
    if explanation.values_use_graph:
        return np.asarray(explanation.reference(asked.subject.network, x[None])[0])
    return np.asarray(asked.posed.map.values(x[None])[1][0])
