"""`falsify`: search for a counterexample by sampling and projected gradient descent; never proves anything.

The loss adds up how far each clause is from holding, each on its own scale and with a random weight per
run; its gradient is taken through a smooth surrogate (`surrogate.py`) whose temperature falls
during a run, since the saliency itself is piecewise constant. Points are judged on the exact network.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from salver.nets.program import Program
from salver.solvers.attack.clause_loss import ClauseArrays, clause_arrays
from salver.solvers.attack.surrogate import Surrogate
from salver.solvers.query import Budget, Options, Query, Result, Verdict

Array = npt.NDArray[np.float64]

BATCH, SAMPLES, STEPS = 32, 384, 60
ROOM = 1e-5
"""Slack worth reaching for in a clause, as a share of the largest output: clear of single precision, well
inside a narrow window."""
PATIENCE, PATIENCE_SECONDS = 20, 3.0
"""A search gives up after this many rounds and this long without a better point."""
SECONDS, SECONDS_PER_WEIGHT = 10.0, 1e-5
"""Longest search: a base, and 10 s more per million entries of the network's matrices."""


def solve(query: Query, budget: Budget, options: Options) -> Result:
    """Returns `sat` with a confirmed witness, `unknown` when the search gives up, or `timed-out`.

    Raises:
        UnsupportedQueryError: operators outside `Program`.
    """
    seconds = SECONDS + SECONDS_PER_WEIGHT * _weights(query.program)
    search = Descent.start(query, options.seed)
    witness = search.run(Budget(min(budget.left, seconds)), rounds=None)
    if witness is not None:
        return Result(Verdict.SAT, witness)
    if budget.over:
        return Result(Verdict.TIMED_OUT)
    why = f"no counterexample in {search.rounds} rounds of {BATCH} runs; the closest point misses by"
    return Result(Verdict.UNKNOWN, reason=f"{why} {-search.best:.3g}")


def attack(query: Query, budget: Budget, seed: int = 0, rounds: int = 3) -> Array | None:
    """A confirmed witness [n] found within a number of rounds of `BATCH` runs each, or None.

    Raises:
        UnsupportedQueryError: operators outside `Program`.
    """
    return Descent.start(query, seed).run(budget, rounds)


@dataclass
class Descent:
    """One search; its state is what has been learned from the points seen so far.

    Attributes:
        scales: typical |slack| per clause; spreads: typical |z| per neuron; size: typical largest |output|.
        elite: the points [k, n] at which the runs of the last round came closest.
        best: largest exact margin seen (negative: how far the closest point misses), and closest: that point.
        first: the same of the first samples, which nothing has moved yet; 0 before there are any.
    """

    query: Query
    generator: np.random.Generator
    arrays: ClauseArrays
    best: float = -np.inf
    closest: Array | None = None
    first: float = 0.0
    rounds: int = 0
    scales: Array = field(default_factory=lambda: np.ones(0))
    spreads: tuple[Array, ...] = ()
    size: float = 1.0
    elite: Array = field(default_factory=lambda: np.zeros((0, 0)))

    @classmethod
    def start(cls, query: Query, seed: int) -> Descent:
        return cls(query, np.random.default_rng(seed), clause_arrays(query.prop))

    def run(self, budget: Budget, rounds: int | None) -> Array | None:
        """A confirmed witness, or None when the rounds, the patience or the budget run out."""
        stale, progress = 0, budget.left
        if self.arrays.impossible:
            return None
        while not budget.over and (rounds is None or self.rounds < rounds):
            if stale >= PATIENCE and progress - budget.left >= PATIENCE_SECONDS:
                return None
            before = self.best
            witness = self._round(budget)
            if witness is not None:
                return witness
            self.rounds += 1
            stale += 1
            if self.best > before + 1e-3 * abs(before):
                stale, progress = 0, budget.left
        return None

    def round_near(self, points: Array, budget: Budget) -> Array | None:
        """A confirmed witness of one more round, in which runs also start around points [k, n]."""
        if self.arrays.impossible:
            return None
        self.elite = np.concatenate([self.elite, points]) if len(self.elite) else points
        self.rounds += 1
        return self._round(budget)

    def _round(self, budget: Budget) -> Array | None:
        samples = self._samples()
        outputs, zs, _ = self.query.program.evaluate(samples)
        margins = self.query.prop.margin(outputs)
        witness = self._confirmed(samples, margins)
        if witness is not None:
            return witness
        if not self.spreads:
            clauses = self.arrays.margins(outputs)[2]
            self.scales = _typical(clauses)
            self.spreads = tuple(_typical(z) for z in zs)
            self.size = float(np.abs(outputs).max(axis=1, initial=0.0).mean())
            self.first = self.best
        return self._descend(samples[self._starts(margins)], budget)

    def _starts(self, margins: Array) -> npt.NDArray[np.intp]:
        """One sample out of every group of neighbours in `_samples`: in turn its best and any of it."""
        groups = np.arange(SAMPLES).reshape(BATCH, -1)
        chosen = self.generator.integers(groups.shape[1], size=BATCH)
        chosen[::2] = margins[groups].argmax(axis=1)[::2]
        return groups[np.arange(BATCH), chosen]

    def _samples(self) -> Array:
        """Corners, uniform points, and points around the centre: of the box, later of earlier runs' ends."""
        low, high = self.query.prop.input_lower, self.query.prop.input_upper
        unit = self.generator.uniform(-1.0, 1.0, (SAMPLES, len(low)))
        third = SAMPLES // 3
        unit[:third] = np.sign(unit[:third])
        unit[third : 2 * third] *= self.generator.uniform(0.0, 1.0, (third, 1)) ** 2
        if self.rounds == 0:
            unit[-1] = 0.0
        points = (low + high) / 2 + unit * (high - low) / 2
        if len(self.elite):
            near = self.elite[self.generator.integers(len(self.elite), size=third)]
            reach = 10 ** self.generator.uniform(-4.0, -0.5, (third, 1)) * (high - low)
            points[third : 2 * third] = near + reach * self.generator.normal(size=near.shape)
        return self.query.prop.projected(points)

    def _descend(self, x: Array, budget: Budget) -> Array | None:
        """Adam on the surrogate's loss, projected to the box and the ball, step and temperature falling."""
        low, high = self.query.prop.input_lower, self.query.prop.input_upper
        width = high - low
        room = np.minimum(0.05 * self.scales, ROOM * self.size)
        weights = self.generator.lognormal(0.0, 2.0, (len(x), len(self.scales))) / self.scales
        warmth = 10 ** self.generator.uniform(-1.5, 0.0, (len(x), 1))
        first, second = np.zeros_like(x), np.zeros_like(x)
        self.elite, closest = x, np.full(len(x), -np.inf)
        for step in range(1, STEPS + 1):
            if budget.over:
                return None
            done = step / STEPS
            temperature = warmth * 0.02**done
            surrogate = Surrogate(self.query.program, tuple(temperature * spread for spread in self.spreads))
            trace = surrogate.forward(x)
            cotangent = self.arrays.cotangent(trace.outputs, weights, room)
            slope = surrogate.backward(trace, cotangent) * width
            first, second = 0.8 * first + 0.2 * slope, 0.95 * second + 0.05 * slope**2
            move = (first / (1 - 0.8**step)) / (np.sqrt(second / (1 - 0.95**step)) + 1e-12)
            x = self.query.prop.projected(x - 0.1 * 0.005**done * width * move)
            if step % 5 == 0:
                margins = self.query.prop.margin(self.query.program.evaluate(x)[0])
                witness = self._confirmed(x, margins)
                if witness is not None:
                    return witness
                self.elite = np.where((margins > closest)[:, None], x, self.elite)
                closest = np.maximum(closest, margins)
        return None

    def _confirmed(self, x: Array, margins: Array) -> Array | None:
        if margins.max() > self.best:
            self.best, self.closest = float(margins.max()), x[int(margins.argmax())].copy()
        for row in np.argsort(-margins)[:3]:
            if margins[row] < 0:
                break
            witness = self.query.confirm(x[row])
            if witness is not None:
                return witness
        return None


def _typical(values: Array) -> Array:
    """Mean absolute value [k] of values [b, k]; 1 where all are 0."""
    mean = np.abs(values).mean(axis=0)
    return np.asarray(np.where(mean > 0, mean, 1.0))


def _weights(program: Program) -> int:
    affines = [pre.affine for pre in program.pre] + [program.output]
    affines += [block.value for block in program.blocks if hasattr(block, "value")]
    return sum(int(np.prod(matrix.shape)) for affine in affines for matrix in affine.terms.values())
