"""Attacks on rankings: gradient descent on a smooth surrogate with the label kept, and how they read a query.

Two losses of Chen et al. (NeurIPS 2024): ERAttack minimises sum of S over T minus sum of S
outside T; the MSE attack maximises |S(x) - S(xhat)|^2 (Ghorbani et al., AAAI 2019; Dombrowski et al.,
NeurIPS 2019). Both are attacks on the saliency alone, so a hinge on the logits keeps the label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError
from salver.explain.ranking import Ranking
from salver.nets.program import AbsBlock, Program
from salver.solvers.attack.surrogate import Surrogate
from salver.solvers.query import Budget, Options, Query, Result, Verdict
from salver.spec import Atom, Ball, Clause, Property

Array = npt.NDArray[np.float64]
Loss = Callable[[Array], Array]
"""From surrogate saliencies [b, n] to the derivative [b, n] of the loss to be minimised by them."""

BATCH, STEPS, CHECK_EVERY = 32, 40, 4
ROUNDS = 16
LABEL_ROOM = 1e-3
"""Lead of the label, in units of the spread of the logits, below which the hinge pushes back."""


@dataclass(frozen=True, eq=False)
class RankingTarget:
    """What a ranking query asks for: the label kept and the ranking broken.

    Attributes:
        label: the class that must stay; logits: m, how many outputs come before the saliencies.
        ranking: T, the features outside it, and how many members must be gone.
    """

    label: int
    logits: int
    ranking: Ranking

    def saliencies(self, outputs: Array) -> Array:
        """S [..., n] among outputs [..., >= m + n]."""
        return outputs[..., self.logits : self.logits + self.ranking.features]

    def lead(self, outputs: Array) -> Array:
        """Label's logit minus the largest other one [...]; +inf where there is no other."""
        others = np.delete(outputs[..., : self.logits], self.label, axis=-1)
        return np.asarray(outputs[..., self.label] - others.max(axis=-1, initial=-np.inf))

    def margin(self, outputs: Array) -> Array:
        """>= 0 exactly where the label is kept and the ranking is broken [...]."""
        return np.minimum(self.lead(outputs), self.ranking.margin(self.saliencies(outputs)))


def read_target(query: Query) -> RankingTarget:
    """The ranking a query is about, from its clauses; of the relaxed form, from the comparisons in its graph.

    Raises:
        SalverError: the query is no ranking query; `what` is the reason.
    """
    prop, features = query.prop, query.network.input_size
    relaxed = [c for c in prop.clauses if len(c) == 1 and len(c[0]) == 1 and c[0][0].other is None]
    logits = prop.output_count - features - len(relaxed)
    label = _kept_label(prop, logits)
    rest = [clause for clause in prop.clauses if _least_index(clause) >= logits]
    if label is None or len(rest) != 1 or len(rest) + max(logits - 1, 0) != len(prop.clauses):
        raise _no_ranking("its clauses are not `the label stays` and one condition on the saliency")
    if not relaxed:
        inside, outside = _from_pairs(rest[0], logits, features)
        return RankingTarget(label, logits, Ranking(inside, outside))
    (atom,) = relaxed[0][0]
    if atom.left != prop.output_count - 1 or atom.relation != ">=":
        raise _no_ranking("its constant bounds something else than the count of members that left")
    inside, outside = _from_graph(query.program, features)
    return RankingTarget(label, logits, Ranking(inside, outside, int(atom.constant + 0.5)))


def _no_ranking(why: str) -> SalverError:
    return SalverError(f"is no ranking query: {why}", "query", "attack an instance of topk_rank")


def _least_index(clause: Clause) -> int:
    return min((output for part in clause for atom in part for output in atom.outputs), default=-1)


def _kept_label(prop: Property, logits: int) -> int | None:
    """The class that single-atom clauses put at or above every other one."""
    pairs: set[tuple[int, int]] = set()
    for clause in prop.clauses:
        if len(clause) == 1 and len(clause[0]) == 1 and (pair := _at_or_above(clause[0][0])):
            pairs.add(pair)
    for label in range(logits):
        if {(label, k) for k in range(logits) if k != label} <= pairs:
            return label
    return None


def _at_or_above(atom: Atom) -> tuple[int, int] | None:
    if atom.other is None:
        return None
    return (atom.left, atom.other) if atom.relation == ">=" else (atom.other, atom.left)


def _from_pairs(
    clause: Clause, first: int, features: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    pairs = {_at_or_above(part[0]) for part in clause if len(part) == 1} - {None}
    known = {pair for pair in pairs if pair is not None}
    outside, inside = {above for above, _ in known}, {below for _, below in known}
    complete = len(known) == len(clause) == len(inside) * len(outside)
    if not complete or (inside & outside) or inside | outside != set(range(first, first + features)):
        raise _no_ranking("the disjunction does not compare one set of features with all others")
    return np.array(sorted(inside), np.intp) - first, np.array(sorted(outside), np.intp) - first


def _from_graph(program: Program, features: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Which absolute values the graph's masks expect to be ahead of which."""
    for pre in program.pre:
        if len(pre.affine.terms) != 1 or pre.affine.constant.any():
            continue
        ((block, matrix),) = pre.affine.terms.items()
        if block < 0 or not isinstance(program.blocks[block], AbsBlock) or matrix.shape[1] != features:
            continue
        dense = np.asarray(matrix if isinstance(matrix, np.ndarray) else matrix.toarray())
        inside, outside = (dense > 0).any(axis=0), (dense < 0).any(axis=0)
        if (inside != outside).all() and len(dense) == inside.sum() * outside.sum():
            return np.flatnonzero(inside), np.flatnonzero(outside)
    raise _no_ranking("no mask of its graph compares one set of features with all others")


def er_loss(ranking: Ranking) -> Loss:
    """ERAttack: minimise sum of S over T - sum of S outside."""
    direction = -np.ones(ranking.features)
    direction[ranking.inside] = 1.0
    return lambda saliency: np.broadcast_to(direction, saliency.shape)


def mse_loss(reference: Array) -> Loss:
    """MSE attack: minimise -|S - reference|^2; reference [n]."""
    return lambda saliency: -2.0 * (saliency - reference)


def pair_loss(ranking: Ranking) -> Loss:
    """Minimise a_r - b_r, the distance of the one pair that decides (see `Ranking.margin`)."""

    def slope(saliency: Array) -> Array:
        members, others = saliency[:, ranking.inside], saliency[:, ranking.outside]
        rows, r = np.arange(len(saliency)), ranking.leave - 1
        result = np.zeros_like(saliency)
        result[rows, ranking.inside[np.argsort(members, axis=1)[:, r]]] = 1.0
        result[rows, ranking.outside[np.argsort(-others, axis=1)[:, r]]] = -1.0
        return result

    return slope


@dataclass(frozen=True, eq=False)
class Attack:
    """One attack on one box, and on a ball in it.

    Attributes:
        program: X -> Concat[logits, S, ...].
        lower, upper: the box [n].
        spreads: typical |z| per pre-activation [size], the unit of the surrogate's temperature.
        scale: typical spread of the logits.
        ball: in which the points stay besides, or None.
    """

    program: Program
    target: RankingTarget
    lower: Array
    upper: Array
    spreads: tuple[Array, ...]
    scale: float
    ball: Ball | None = None

    @classmethod
    def on(
        cls,
        program: Program,
        target: RankingTarget,
        box: tuple[Array, Array],
        generator: np.random.Generator,
        ball: Ball | None = None,
    ) -> Attack:
        """Measures the units on random points of the box."""
        lower, upper = box
        points = lower + generator.random((64, len(lower))) * (upper - lower)
        outputs, zs, _ = program.evaluate(points)
        logits = outputs[:, : target.logits]
        scale = float(np.abs(logits - logits.mean(axis=1, keepdims=True)).mean()) + 1e-9
        spreads = tuple(np.abs(z).mean(axis=0) + 1e-9 for z in zs)
        return cls(program, target, lower, upper, spreads, scale, ball)

    def starts(self, generator: np.random.Generator, count: int = BATCH) -> Array:
        """Random points: corners, uniform ones and ones near the middle [count, n]."""
        unit = generator.uniform(-1.0, 1.0, (count, len(self.lower)))
        unit[: count // 4] = np.sign(unit[: count // 4])
        unit[count // 2 :] *= generator.uniform(0.0, 1.0, (count - count // 2, 1))
        return self._inside((self.lower + self.upper) / 2 + unit * (self.upper - self.lower) / 2)

    def _inside(self, x: Array) -> Array:
        if self.ball is not None:
            return self.ball.projected(x, self.lower, self.upper)
        return np.clip(x, self.lower, self.upper)

    def descend(self, x: Array, loss: Loss, generator: np.random.Generator) -> Iterator[Array]:
        """Sign-gradient descent from x [b, n]; yields the points [b, n] after every few steps."""
        width = self.upper - self.lower
        warmth = 10 ** generator.uniform(-1.5, 0.0, (len(x), 1))
        rate = 10 ** generator.uniform(-1.5, -0.5, (len(x), 1))
        yield x
        for step in range(1, STEPS + 1):
            cooled = warmth * 0.05 ** (step / STEPS)
            surrogate = Surrogate(self.program, tuple(cooled * spread for spread in self.spreads))
            trace = surrogate.forward(x)
            slope = surrogate.backward(trace, self._cotangent(trace.outputs, loss))
            x = self._inside(x - rate * 0.1 ** (step / STEPS) * width * np.sign(slope))
            if step % CHECK_EVERY == 0:
                yield x

    def _cotangent(self, outputs: Array, loss: Loss) -> Array:
        """The loss where the label is safe, the hinge on the logits where it is not."""
        target = self.target
        result = np.zeros_like(outputs)
        saliency = target.saliencies(outputs)
        result[:, target.logits : target.logits + saliency.shape[1]] = loss(saliency)
        lost = np.flatnonzero(target.lead(outputs) < LABEL_ROOM * self.scale)
        others = outputs[lost, : target.logits].copy()
        others[:, target.label] = -np.inf
        result[lost] = 0.0
        if target.logits > 1:
            result[lost, target.label] = -1.0
            result[lost, others.argmax(axis=1)] = 1.0
        return result


def run(query: Query, budget: Budget, options: Options, loss_of: Callable[[RankingTarget], Loss]) -> Result:
    """One attack as a solver: `sat` with a confirmed witness, `unknown` with a reason, or `timed-out`.

    Raises:
        UnsupportedQueryError: operators outside `Program`.
    """
    try:
        target = read_target(query)
    except SalverError as error:
        return Result(Verdict.UNKNOWN, reason=error.what)
    generator = np.random.default_rng(options.seed)
    box = (query.prop.input_lower, query.prop.input_upper)
    attack, loss = Attack.on(query.program, target, box, generator, query.prop.ball), loss_of(target)
    closest = -np.inf
    for _ in range(ROUNDS):
        for points in attack.descend(attack.starts(generator), loss, generator):
            if budget.over:
                return Result(Verdict.TIMED_OUT)
            margins = target.margin(query.program.evaluate(points)[0])
            closest = max(closest, float(margins.max()))
            for row in np.argsort(-margins)[:3]:
                witness = query.confirm(points[row]) if margins[row] >= 0 else None
                if witness is not None:
                    return Result(Verdict.SAT, witness)
    why = f"no counterexample in {ROUNDS} rounds of {BATCH} runs; the closest point misses by"
    return Result(Verdict.UNKNOWN, reason=f"{why} {-closest:.3g}")
