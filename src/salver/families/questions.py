"""Every question there is: those of `other_class`, the ranks of the map change, an entry moves, and so on.

Those of others are among them, for comparison on the same graphs: an entry that loses its sign (Shi et al.,
"Efficiently computing local Lipschitz constants of neural networks via bound propagation", NeurIPS 2022), one
that moves (Wicker et al., "Robust explanation constraints for neural networks", ICLR 2023), the label alone.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field

from salver.core.errors import SalverError
from salver.explain.ranking import (
    Ranking,
    UndefinedConditionError,
    enough_departed,
    some_pair_flips,
    someone_overtaken,
    top_k,
    with_departures,
    with_overtakers,
)
from salver.families import conditions, other_class  # noqa: F401 - registers its questions
from salver.families.question import QUESTIONS, Array, Question, largest_entries, lead_of_others, others
from salver.nets.network import Network
from salver.spec import Atom, Clause, float32_down, float32_up


@QUESTIONS.register
class TopKChanges(Question):
    """The k most salient entries T are others: see `salver.explain.ranking`.

    Fewer than `stay` members of T are left among the first k, or one is no longer among the first `within`
    >= k; either is any change where it is not given. `at` fills in `inside`, which is T, ascending, and
    `size`, of how many entries.
    """

    kind: Literal["top-k-changes"] = "top-k-changes"
    k: int = Field(description="size of the top-k set")
    stay: int | None = Field(default=None, gt=0, description="how many members must stay; k where not given")
    within: int | None = Field(
        default=None, gt=0, description="first places that members must keep; k where not given"
    )
    same_label: bool = Field(default=True, description="x must have the label of xhat")
    inside: tuple[int, ...] = ()
    size: int = 0
    meaning = "The most important entries are others."
    falsified = (
        "The most important features of a nearly equal input are others, though its class is the same."
    )
    completed = frozenset({"inside", "size"})
    tie_rule = "a tie with an entry of the top-k set is a violation; a tie of logits keeps the label"

    @property
    def leave(self) -> int:
        """How many members must be gone."""
        return 1 if self.stay is None else self.k - self.stay + 1

    @property
    def by(self) -> int:
        """How many entries outside T some member must have at or above it."""
        return 1 if self.within is None else self.within - self.k + 1

    @property
    def extra_outputs(self) -> int:
        return int(self.leave > 1) or (self.k if self.by > 1 else 0)

    @property
    def ranked(self) -> int:
        return self.k

    @property
    def ranking(self) -> Ranking:
        """T and the other entries. Raises: SalverError: so many members cannot leave."""
        inside = np.array(self.inside, np.intp)
        return Ranking(inside, np.setdiff1d(np.arange(self.size), inside), self.leave)

    def at(self, reference: Array, label: int, logits: int) -> Self:
        size, where = len(reference), "top-k condition"
        inside = top_k(reference, self.k)
        if self.leave < 1:
            raise SalverError(f"{self.stay} of {self.k} members cannot stay", where, "choose stay <= k")
        if self.by < 1:
            what = f"a top-{self.k} set is never inside a top-{self.within} set"
            raise SalverError(what, where, "choose within >= k")
        if self.by > size - self.k:
            what = f"all {size} entries are always among the first {self.within}"
            raise SalverError(what, where, f"choose within < {size}")
        if self.leave > 1 and self.by > 1:
            raise SalverError("stay and within are two questions", where, "choose one of them")
        return self.model_copy(update={"inside": tuple(inside.tolist()), "size": size})

    @property
    def in_words(self) -> str:
        kept = " and the class is the same" if self.same_label else ""
        if self.by > 1:
            member = f"one of the {largest_entries(self.k)}" if self.k > 1 else "the largest entry"
            return f"{member} of the map is no longer among the {self.within} largest{kept}"
        if self.leave > 1:
            return f"{self.leave} or more of the {largest_entries(self.k)} of the map have left them{kept}"
        what = f"{'set of the ' if self.k > 1 else ''}{largest_entries(self.k)}"
        return f"the {what} of the map is another one{kept}"

    @property
    def text(self) -> str:
        if self.by > 1:
            what = f"top-{self.k} set of E(xhat) leaves the top {self.within} of E(x)"
        elif self.leave > 1:
            what = f"at least {self.leave} of the top-{self.k} set of E(xhat) leave that of E(x)"
        else:
            what = f"top-{self.k} set of E(x) differs from that of E(xhat)"
        return what + (", label kept" if self.same_label else "")

    @property
    def stem(self) -> str:
        relaxed = f"leave{self.leave}" if self.leave > 1 else f"in{self.within}" if self.by > 1 else ""
        return f"top{self.k}{relaxed}"

    def file_name(self, layout: str, **parts: object) -> str:
        return super().file_name(layout, **parts) + ("" if self.same_label else "-any")

    def network(self, graph: Network) -> Network:
        if self.leave > 1:
            return with_departures(graph, self.ranking)
        return with_overtakers(graph, self.ranking) if self.by > 1 else graph

    def clauses(self, reference: Array, label: int, logits: int) -> tuple[Clause, ...]:
        kept = conditions.class_is(label, logits) if self.same_label else ()
        if self.by > 1:
            return (*kept, someone_overtaken(logits, self.ranking, self.by))
        return (*kept, (enough_departed if self.leave > 1 else some_pair_flips)(logits, self.ranking))

    def extra(self, maps: Array) -> Array:
        if not self.extra_outputs:
            return super().extra(maps)
        members, rest = maps[:, self.ranking.inside], maps[:, self.ranking.outside]
        above = (rest[:, None, :] >= members[:, :, None]).sum(axis=2)
        left = (above >= self.leave).sum(axis=1, keepdims=True)
        return np.asarray(left if self.leave > 1 else above, np.float64)

    def score(self, logits: Array, maps: Array, reference: Array, label: int) -> Array:
        members, rest = maps[:, self.ranking.inside], maps[:, self.ranking.outside]
        low, high = self.leave - 1, rest.shape[1] - max(self.leave, self.by)
        gap = np.partition(rest, high, axis=1)[:, high] - np.partition(members, low, axis=1)[:, low]
        if not self.same_label:
            return np.asarray(gap)
        kept = -lead_of_others(logits, label)
        return np.asarray(np.where(kept >= 0, gap, np.minimum(gap, kept)))


@QUESTIONS.register
class SignChanges(Question):
    """An entry, in the direction of its sign at xhat, falls to `level`; 0 asks whether it loses its sign.

    That is s E_j(x) <= level, with s the sign of E_j(xhat); `at` fills in whether s = 1, as `positive`.
    """

    kind: Literal["sign-changes"] = "sign-changes"
    entry: int = Field(description="the entry, counted from 0")
    level: float = Field(
        default=0.0, allow_inf_nan=False, description="what it falls to, in the direction of its sign"
    )
    positive: bool = True
    meaning = "An entry of the map falls to the asked level."
    falsified = "A feature that works in one direction loses its effect nearby, or falls to the asked level."
    completed = frozenset({"positive"})
    layout = "{map}-{stem}-i{index}-e{epsilon:g}"

    def at(self, reference: Array, label: int, logits: int) -> Self:
        if not 0 <= self.entry < len(reference):
            what = f"there is no entry {self.entry}"
            raise SalverError(what, "sign question", f"choose among 0 ... {len(reference) - 1}")
        if reference[self.entry] == 0:
            what = f"entry {self.entry} of the map is 0, which has no sign"
            raise UndefinedConditionError(what, "sign question", "choose another entry")
        return self.model_copy(update={"positive": bool(reference[self.entry] > 0)})

    @property
    def in_words(self) -> str:
        if self.level == 0:
            return f"entry {self.entry} of the map loses its sign"
        if self.positive:
            return f"entry {self.entry} of the map falls to {self.level:g} or below"
        return f"entry {self.entry} of the map rises to {-self.level:g} or above"

    @property
    def text(self) -> str:
        return f"{'' if self.positive else '-'}E_{self.entry}(x) <= {self.level:g}"

    @property
    def stem(self) -> str:
        return f"f{self.entry}-l{self.level:g}"

    @property
    def enough(self) -> float:
        return -self.level

    def clauses(self, reference: Array, label: int, logits: int) -> tuple[Clause, ...]:
        if self.positive:
            atom = Atom(logits + self.entry, "<=", constant=float(float32_down(np.array(self.level))))
        else:
            atom = Atom(logits + self.entry, ">=", constant=float(float32_up(np.array(-self.level))))
        return (((atom,),),)

    def score(self, logits: Array, maps: Array, reference: Array, label: int) -> Array:
        return np.asarray(-np.sign(reference[self.entry]) * maps[:, self.entry])


@QUESTIONS.register
class EntryMoves(Question):
    """Some entry moves by `delta` or more."""

    kind: Literal["entry-moves"] = "entry-moves"
    delta: float = Field(default=0.0, ge=0, allow_inf_nan=False, description="by how much an entry must move")
    meaning = "An entry of the map moves by the asked width or more."
    falsified = "Some number of the map moves by delta or more, so it may not be quoted with that precision."
    needed = frozenset({"delta"})
    layout = "{map}-{stem}-i{index}-e{epsilon:g}"

    @property
    def tolerance(self) -> float:
        return self.delta

    @property
    def in_words(self) -> str:
        return f"some entry of the map moves by {self.delta:g} or more" if self.delta else "the map changes"

    @property
    def text(self) -> str:
        return f"|E_j(x) - E_j(xhat)| >= {self.delta:g} for some j"

    @property
    def stem(self) -> str:
        return f"w{self.delta:g}"

    @property
    def enough(self) -> float:
        return self.delta

    def clauses(self, reference: Array, label: int, logits: int) -> tuple[Clause, ...]:
        return conditions.some_entry_moves(logits, reference, self.delta)

    def score(self, logits: Array, maps: Array, reference: Array, label: int) -> Array:
        return np.asarray(np.abs(maps - reference).max(axis=1))


@QUESTIONS.register
class LabelChanges(Question):
    """Another class is reached: the plain baseline of the field, which needs no map."""

    kind: Literal["label-changes"] = "label-changes"
    meaning = "The class is another one."
    falsified = "The decision itself changes. No map is asked about."
    needs_map = False
    layout = "{network}-label-i{index}-e{epsilon:g}"

    @property
    def text(self) -> str:
        return "the class changes"

    @property
    def stem(self) -> str:
        return "label"

    def clauses(self, reference: Array, label: int, logits: int) -> tuple[Clause, ...]:
        return conditions.some_class_beats(label, others(label, logits))

    def score(self, logits: Array, maps: Array, reference: Array, label: int) -> Array:
        return lead_of_others(logits, label)

    def classes(self, label: int, logits: int) -> tuple[int, ...]:
        return others(label, logits)


AnyQuestion = Annotated[Question, QUESTIONS]
"""Any question, told apart by its `kind`."""
