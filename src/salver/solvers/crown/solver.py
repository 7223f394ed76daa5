"""`crown`: CROWN bounds by auto_LiRPA inside a branch and bound that decides mask and ReLU together.

A split fixes one pre-activation to z >= 0 (ReLU = z, mask = 1) or z <= 0 (both 0). The masks are closed at
z = 0 on both sides, so `unsat` holds for the strict mask too; `sat` needs a point that survives strict
replay. A subproblem without undecided pre-activations is a linear program, so the solver is complete
except for points that lie on z = 0 alone, which it reports as `unknown`.

A subproblem is closed by a certificate alone: bounds that are moved outwards by all rounding (`one_pass`),
or multipliers that are evaluated again (`leaf`). Where auto_LiRPA or a linear program solver fails, it is
split on.
"""

from __future__ import annotations

import heapq
import itertools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError
from salver.solvers.absolute import without_abs
from salver.solvers.bounding.bounds import Bounds
from salver.solvers.bounding.propagation import propagate
from salver.solvers.crown.bounds import Bounder, Boxes
from salver.solvers.crown.graph import atom_rows, over_rows
from salver.solvers.crown.leaf import Leaf, cases, leaf_of, likely_points, refuted
from salver.solvers.crown.one_pass import Bounded, OutOfTimeError, bound, unbounded
from salver.solvers.query import Budget, Options, Query, Result, Verdict
from salver.solvers.watchdog import is_out_of_memory
from salver.spec import Property

Array = npt.NDArray[np.float64]
MEMORY = 8_000_000
"""Entries of the largest coefficient tensor [batch, rows, inputs] of a pass (64 MB)."""
LARGEST_BATCH = 512
PASS_SECONDS = 2.0
SAMPLES = 512
KEPT = 16
"""Best points remembered for the attack, and random steps from each of them per pass."""
STEPS = 16
NEAR = 1e-6
"""Share of the largest output by which a point may miss and still be replayed."""


def solve(query: Query, budget: Budget, options: Options) -> Result:
    """Decides a query.

    Raises:
        SalverError: CUDA was asked for and is not there, or auto_LiRPA cannot be imported.
        UnsupportedQueryError: see `salver.nets.network.lower`.
    """
    with _torch_settings(options):
        return CrownSearch(query, budget, options).run()


@contextmanager
def _torch_settings(options: Options) -> Iterator[None]:
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        raise SalverError("CUDA is not available to torch", "--device cuda", "use --device cpu")
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    torch.set_num_threads(options.threads)
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)


@dataclass(order=True)
class _Open:
    """An open subproblem: one row of a batch. The deepest comes first, then the farthest from refuted."""

    priority: tuple[int, float]
    number: int
    rows: tuple[Any, ...] = field(compare=False)


class CrownSearch:
    """One branch and bound."""

    def __init__(self, query: Query, budget: Budget, options: Options) -> None:
        self.query, self.budget, self.options = query, budget, options
        self.original = query.program
        self.rows = atom_rows(query.prop)
        self.plain = without_abs(self.original)
        self.program = over_rows(self.plain, self.rows)
        self.random = np.random.default_rng(options.seed)
        self.open: list[_Open] = []
        self.counter = itertools.count()
        self.batch = 1
        self.bounded = 0
        self.leaves = 0
        self.undecided = 0
        self.best: Array = np.zeros((0, self.program.input_size))
        self.witness: Array | None = None

    def run(self) -> Result:
        """Attack, then branch and bound until the queue is empty or the budget over."""
        lower, upper = self.query.prop.input_lower, self.query.prop.input_upper
        impossible = not all(self.query.prop.clauses)
        if impossible or self._attack(lower, upper):
            return self._answer()
        try:
            self.bounder = Bounder(self.program, self.rows, self.options.device)
        except SalverError:
            raise
        except Exception as error:
            _note(error)
            return Result(Verdict.UNKNOWN, reason=f"auto_LiRPA failed: {type(error).__name__}")
        try:
            self._expand(self.bounder.root(lower, upper))
            while self.open and self.witness is None and not self.budget.over:
                batch = [heapq.heappop(self.open) for _ in range(min(self.batch, len(self.open)))]
                self._expand(self._children(batch))
        except OutOfTimeError:
            pass
        return self._answer()

    def _answer(self) -> Result:
        note = f"{self.bounded} subproblems, {self.leaves} linear programs"
        if self.witness is not None:
            return Result(Verdict.SAT, self.witness, note)
        if self.budget.over:
            return Result(Verdict.TIMED_OUT, reason=note)
        if self.undecided:
            return Result(Verdict.UNKNOWN, reason=f"{self.undecided} leaves without a strict witness; {note}")
        return Result(Verdict.UNSAT, reason=note)

    def _attack(self, lower: Array, upper: Array) -> bool:
        """Replays centre, corners and uniform points, then ever smaller steps from the best."""
        shape = (SAMPLES, len(lower))
        corners = np.where(self.random.random(shape) < 0.5, lower, upper)
        uniform = self.random.uniform(lower, upper, shape)
        points = np.concatenate([(lower + upper)[None] / 2, corners, uniform])
        return self._try(points) or any(self._try(self._steps(spread)) for spread in (0.3, 0.1, 0.03, 0.01))

    def _steps(self, spread: float) -> Array:
        """Random steps from the best points so far, half of them along few coordinates."""
        prop = self.query.prop
        shape = (STEPS, *self.best.shape)
        steps = self.random.standard_normal(shape) * spread * (prop.input_upper - prop.input_lower)
        steps[::2] *= self.random.random(shape)[::2] < 0.3
        moved = np.clip(self.best + steps, prop.input_lower, prop.input_upper)
        return moved.reshape(-1, shape[-1])

    def _try(self, points: Array) -> bool:
        """Replays the points whose float64 margin does not rule them out, best first; keeps the best few."""
        if self.witness is not None or not len(points):
            return self.witness is not None
        pool = np.concatenate([self.best, self.query.clip(points)])
        outputs = self.original.evaluate(pool)[0]
        margins = self.query.prop.margin(outputs)
        order = np.argsort(-margins)
        self.best = pool[order[:KEPT]]
        for index in order[:5]:
            if margins[index] < -NEAR * np.abs(outputs[index]).max(initial=0.0):
                break
            self.witness = self.query.confirm(pool[index])
            if self.witness is not None:
                return True
        return False

    def _children(self, batch: list[_Open]) -> Boxes:
        """Both children of every subproblem at the column it is to be split on."""
        import torch

        lower, upper, low, high, signs, split = (
            torch.stack([node.rows[k] for node in batch]) for k in range(6)
        )
        both = []
        for sign in (1, -1):
            child = signs.clone()
            child[torch.arange(len(batch), device=child.device), split] = sign
            both.append(child)
        lower, upper, low, high = (torch.cat([part, part]) for part in (lower, upper, low, high))
        return Boxes(lower, upper, low, high, torch.cat(both))

    def _expand(self, boxes: Boxes) -> None:
        """Bounds a batch, replays points of it, decides its leaves and queues the rest."""
        started = self.budget.left
        try:
            bounded = bound(self.bounder, boxes, self.budget)
        except OutOfTimeError:
            raise
        except Exception as error:  # of the back end, whatever it is: the subproblems are split on
            _note(error)
            bounded = unbounded(self.bounder, boxes)
        self.bounded += len(boxes.lower)
        self.batch = self._next_batch(len(boxes.lower) / max(started - self.budget.left, 1e-9))
        keep = (~bounded.refuted).nonzero().ravel()
        if not len(keep):
            return
        boxes = bounded.boxes
        centres = ((boxes.lower + boxes.upper) / 2)[keep]
        points = bounded.points[keep].cpu().numpy()
        candidates = np.concatenate(
            [centres.cpu().numpy(), points, self._steps(10 ** self.random.uniform(-3, 0))]
        )
        if self._try(candidates):
            return
        depths = (boxes.signs != 0).sum(1).tolist()
        progress = bounded.progress.tolist()
        split = bounded.scores.argmax(1)
        undecided = bounded.scores.amax(1) > 0
        for index in keep.tolist():
            if self.budget.over or self.witness is not None:
                return
            if not bool(undecided[index]):
                self._leaf(bounded, index)
                continue
            parts = (boxes.lower, boxes.upper, boxes.low, boxes.high, boxes.signs, split)
            rows = tuple(part[index] for part in parts)
            heapq.heappush(self.open, _Open((-depths[index], -progress[index]), next(self.counter), rows))

    def _next_batch(self, rate: float) -> int:
        """Subproblems to split next, so that the pass over their children fits memory and `PASS_SECONDS`."""
        largest = max(stage.stop - stage.start for stage in self.bounder.stages)
        memory = MEMORY // (largest * self.program.input_size)
        return max(1, min(LARGEST_BATCH, memory, int(rate * PASS_SECONDS)) // 2)

    def _leaf(self, bounded: Bounded, index: int) -> None:
        """Decides a subproblem all of whose signs are decided."""
        low, high, signs = (
            part[index].cpu().numpy() for part in (bounded.boxes.low, bounded.boxes.high, bounded.boxes.signs)
        )
        on = {
            number: (low[stage.columns] > 0) | (signs[stage.columns] > 0)
            for number, stage in self.bounder.pre.items()
        }
        off = {n: (high[s.columns] <= 0) | (signs[s.columns] < 0) for n, s in self.bounder.pre.items()}
        if not all((on[number] | off[number]).all() for number in on):
            self.undecided += 1
            return
        prop, alive = self.query.prop, bounded.alive[index].cpu().numpy()
        fixed = {number: np.where(signs_on, 1, -1) for number, signs_on in on.items()}
        box = (prop.input_lower, prop.input_upper)
        bounds = propagate(self.plain, *box, fixed=fixed, ball=prop.ball)
        if bounds.infeasible:
            return
        leaf = leaf_of(self.program, self.rows, on, alive)
        for case, (rows, shifts) in zip(self._cases(alive), cases(leaf), strict=True):
            if self.budget.over:
                return
            self.leaves += 1
            if self._refuted(case, bounds):
                continue
            if self._try(self._points(leaf, rows, shifts)):
                return
            self.undecided += 1

    def _cases(self, alive: npt.NDArray[np.bool_]) -> Iterator[Property]:
        """The property with one conjunction a clause, in the order of `leaf.cases`."""
        prop, numbers = self.query.prop, itertools.count()
        choices = [[part for part in clause if alive[next(numbers)]] for clause in prop.clauses]
        for choice in itertools.product(*choices):
            yield replace(prop, clauses=tuple((part,) for part in choice))

    def _refuted(self, case: Property, bounds: Bounds) -> bool:
        try:
            return refuted(self.plain, case, bounds)
        except Exception as error:  # of the back end, whatever it is: there is no certificate
            _note(error)
            return False

    def _points(self, leaf: Leaf, rows: Array, shifts: Array) -> Array:
        prop = self.query.prop
        try:
            found = likely_points(leaf, rows, shifts, prop.input_lower, prop.input_upper, self.budget.left)
        except Exception as error:
            _note(error)
            found = ()
        return np.array(found).reshape(-1, len(prop.input_lower))


def _note(error: Exception) -> None:
    """Says what failed; being out of memory is nobody's to catch."""
    if is_out_of_memory(error):
        raise error
    print(f"back end: {type(error).__name__}: {error}", file=sys.stderr)
