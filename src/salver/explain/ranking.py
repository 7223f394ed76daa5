"""Ranking stability of saliency maps: which features stay among the k most salient ones.

S(x) = |E(x)| per feature and T = the top-k set of S(xhat) (Chen et al., "Training for Stable Explanation
for Free", NeurIPS 2024, arXiv:2212.14106). A ranking is broken at x when, with ties broken against T, at
least r members of T are no longer among the k largest entries: r = 1 asks for any change of the set,
r = k - t + 1 for fewer than t members that stay.

Why order statistics suffice. Let a_r be the r-th smallest S_i over T and b_r the r-th largest S_j outside
T. Ranked by S with outsiders first among equals, b_r has before it exactly r - 1 outsiders and the members
with S_i > b_r. It is among the first k iff at most k - r members exceed it, that is, iff at least r members
have S_i <= b_r, that is, iff a_r <= b_r. The k first entries hold at least r outsiders iff they hold b_r,
and exactly as many members are gone as outsiders are in. So

    at least r members gone  <=>  a_r <= b_r  <=>  at least r members i have c_i >= r,

with c_i = #{j outside T : S_j >= S_i}, since S_i <= b_r says that r outsiders are at or above S_i. The
last form is what `with_departures` computes inside the graph; for r = 1 it is the plain disjunction over
pairs of `some_pair_flips`.

Top-k1 inside top-k2. With k1 = |T| <= k2, broken means that some i in T has k2 other entries at or above it.
If any has, so has the lowest member, and k1 - 1 of those are members. So, with r = k2 - k1 + 1,

    some i in T is not among the first k2  <=>  some member has c_i >= r  <=>  a_1 <= b_r,

which `with_overtakers` counts in the graph; for k1 = k2 it is `some_pair_flips` again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError
from salver.nets.network import Network, free_prefix
from salver.nets.operators import Concat, Linear, Node, Operator, Relu, Sign
from salver.spec import Atom, Clause

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

MOST_PAIRS = 8000
"""Pairs that a graph may compare; the comparisons are one dense Gemm of pairs x features weights."""


class UndefinedConditionError(SalverError):
    """The map at this point gives a question no meaning: a tie, or nothing to compare."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """A top-k set as feature numbers.

    Attributes:
        inside: T, ascending [k]; outside: all other features, ascending [n - k].
        leave: r, how many members of T must be gone for the ranking to count as broken, 1 ... k.
    """

    inside: Indices
    outside: Indices
    leave: int = 1

    def __post_init__(self) -> None:
        most = min(len(self.inside), len(self.outside))
        if not 1 <= self.leave <= most:
            what = f"{self.leave} members cannot leave a top-{len(self.inside)} set"
            hint = f"choose a number from 1 to {most}"
            raise SalverError(f"{what} of {self.features} features", "ranking", hint)

    @property
    def features(self) -> int:
        """n."""
        return len(self.inside) + len(self.outside)

    def margin(self, saliency: Array) -> Array:
        """b_r - a_r at saliencies [..., n]: >= 0 exactly where the ranking is broken."""
        members, others = saliency[..., self.inside], saliency[..., self.outside]
        last, r = others.shape[-1] - self.leave, self.leave - 1
        lowest: Array = np.partition(members, r, axis=-1)[..., r]
        highest: Array = np.partition(others, last, axis=-1)[..., last]
        return highest - lowest

    def precision_at_k(self, saliency: Array) -> Array:
        """P@k = |T and top-k of S| / k at saliencies [batch, n], ties broken against T (Chen et al.)."""
        members, others = saliency[:, self.inside], saliency[:, self.outside]
        k = len(self.inside)
        ascending = np.sort(members, axis=1)
        descending = -np.sort(-others, axis=1)
        width = min(k, descending.shape[1])
        gone = (descending[:, :width] >= ascending[:, :width]).sum(axis=1)
        return np.asarray(1.0 - gone / k)

    def thickness(self, saliency: Array) -> Array:
        """Share of the points [batch, n] on which S_i > S_j, for every pair [k, n - k].

        The thickness of a pair (Chen et al.) with the points as samples of the ball.
        """
        members, others = saliency[:, self.inside], saliency[:, self.outside]
        return np.stack([(members[:, [i]] > others).mean(axis=0) for i in range(members.shape[1])])


def ranking_of(saliency: Array, k: int, leave: int = 1) -> Ranking:
    """The top-k set of a saliency map [n].

    Raises:
        SalverError: k is not between 1 and n - 1, or so many members cannot leave.
        UndefinedConditionError: ranks k and k + 1 are tied, as they are where all entries are equal.
    """
    inside = top_k(saliency, k)
    return Ranking(inside, np.setdiff1d(np.arange(len(saliency)), inside), leave)


def top_k(reference: Array, k: int) -> Indices:
    """Indices of the k largest entries, ascending.

    Raises:
        SalverError: k outside 1 ... n - 1.
        UndefinedConditionError: a tie between ranks k and k + 1.
    """
    size = len(reference)
    if not 1 <= k < size:
        raise SalverError(f"{k} is not between 1 and {size - 1}", "k", "choose another")
    order = np.argsort(-reference, kind="stable")
    if reference[order[k - 1]] == reference[order[k]]:
        what = f"ranks {k} and {k + 1} of the reference saliency are tied"
        raise UndefinedConditionError(what, "top-k condition", "choose another k or another point")
    return np.sort(order[:k])


def some_pair_flips(first: int, ranking: Ranking) -> Clause:
    """OR over i in T, j outside T of Y[first + j] >= Y[first + i]: at least one member is gone."""
    return tuple(
        (Atom(first + int(j), ">=", other=first + int(i)),) for i in ranking.inside for j in ranking.outside
    )


def enough_departed(first: int, ranking: Ranking) -> Clause:
    """Y[first + n] >= r - 1/2, where that output counts the members that left: at least r are gone."""
    return ((Atom(first + ranking.features, ">=", constant=ranking.leave - 0.5),),)


def with_departures(graph: Network, ranking: Ranking) -> Network:
    """X [n] -> Concat[logits, S, #{i in T : c_i >= r}] from X -> Concat[logits, S].

    1[S_j >= S_i] = 1 - Relu(Sign(S_i - S_j)), exact also for a tie; the counts are integers, so the
    threshold r - 1/2 is never met.

    Raises:
        SalverError: more than `MOST_PAIRS` pairs.
    """
    k, others = len(ranking.inside), len(ranking.outside)
    offset, total = np.full(k, others - ranking.leave + 0.5, np.float32), np.ones((1, k), np.float32)
    left = Linear(total, np.zeros(1, np.float32))
    parts = (
        ("count", Linear(_outsiders(k, others), offset)),
        ("over", Sign()),
        ("gone", Relu()),
        ("left", left),
    )
    return _with_counts(graph, ranking, parts, 1)


def with_overtakers(graph: Network, ranking: Ranking) -> Network:
    """X [n] -> Concat[logits, S, c] from X -> Concat[logits, S], with c_i of every i in T, ascending [k].

    Raises:
        SalverError: more than `MOST_PAIRS` pairs.
    """
    k, others = len(ranking.inside), len(ranking.outside)
    above = Linear(_outsiders(k, others), np.full(k, others, np.float32))
    return _with_counts(graph, ranking, (("above", above),), k)


def someone_overtaken(first: int, ranking: Ranking, by: int) -> Clause:
    """OR over i in T of c_i >= by - 1/2, on the outputs of `with_overtakers`."""
    start = first + ranking.features
    return tuple((Atom(start + number, ">=", constant=by - 0.5),) for number in range(len(ranking.inside)))


def _outsiders(k: int, others: int) -> npt.NDArray[np.float32]:
    """Minus the pairs of each member [k, k (n - k)]."""
    return -np.repeat(np.eye(k, dtype=np.float32), others, axis=1)


def _with_counts(
    graph: Network, ranking: Ranking, parts: Sequence[tuple[str, Operator]], outputs: int
) -> Network:
    """The graph with `outputs` more: `parts` one after the other, the first of 1[S_i > S_j], j fastest."""
    k, others = len(ranking.inside), len(ranking.outside)
    size = k * others
    if size > MOST_PAIRS:
        what = f"{k} x {others} pairs are more than the {MOST_PAIRS} a graph compares"
        hint = "choose a smaller k, or the exact form, which counts nothing"
        raise SalverError(what, "relaxed ranking", hint)
    joined = graph.nodes[-1]
    if not isinstance(joined.operator, Concat) or len(joined.inputs) != 2:
        raise ValueError("not a gradient network: its output is no Concat[logits, saliency]")
    compare = np.zeros((size, ranking.features), np.float32)
    compare[np.arange(size), np.repeat(ranking.inside, others)] = 1.0
    compare[np.arange(size), np.tile(ranking.outside, k)] = -1.0
    pairs = (("lead", Linear(compare, np.zeros(size, np.float32))), ("sign", Sign()), ("ahead", Relu()))
    prefix, nodes, (logits, last) = free_prefix(graph.shapes, "rank_"), list(graph.nodes[:-1]), joined.inputs
    saliency = last
    for name, operator in (*pairs, *parts):
        width = len(operator.bias) if isinstance(operator, Linear) else math.prod(nodes[-1].shape)
        nodes.append(Node(f"{prefix}{name}", operator, (last,), (width,)))
        last = nodes[-1].name
    out = Node(f"{prefix}out", Concat(), (logits, saliency, last), (graph.output_size + outputs,))
    return Network(graph.input, graph.input_size, (*nodes, out), out.name)
