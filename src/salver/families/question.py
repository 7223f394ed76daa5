"""What is asked about a map: what every question's record has in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError
from salver.core.records import Kinds, Record
from salver.nets.network import Network
from salver.spec import Clause, Property

Array = npt.NDArray[np.float64]


QUESTIONS = Kinds("kind")
"""Every question's record by name."""


class Question(Record):
    """A condition on the logits [m] and the map E [s] at x, where E at xhat is known; sat answers with yes.

    A question is one subclass that gives `kind` a default and is registered in `QUESTIONS`.
    In the texts E is the map that the facts name. Questions about the label l of xhat leave the class of x
    open unless they say otherwise.

    Attributes:
        kind: which question.
    """

    kind: str
    meaning: ClassVar[str] = "The query's condition is met."
    """What a witness shows, for readers."""
    falsified: ClassVar[str] = ""
    """What a falsified instance means for somebody who relies on the explanation, in a sentence."""
    tie_rule: ClassVar[str] = "values that reach their bound count as violations"
    needs_map: ClassVar[bool] = True
    """Whether the question says nothing without a map."""
    needed: ClassVar[frozenset[str]] = frozenset()
    """Entries that mean nothing by default: families choose them later, a person must give them."""
    layout: ClassVar[str] = "{map}-i{index}-{stem}-e{epsilon:g}"
    """How an instance's files are named; `network` may be used too."""
    completed: ClassVar[frozenset[str]] = frozenset()
    """Entries that `at` fills in; nobody gives them."""

    @property
    @abstractmethod
    def text(self) -> str:
        """The condition in symbols."""

    @property
    def in_words(self) -> str:
        """The condition as a clause without symbols: `there is an input at which ...`."""
        return f"{self.meaning[:1].lower()}{self.meaning[1:].rstrip('.')}"

    @property
    @abstractmethod
    def stem(self) -> str:
        """File-name part that tells questions about one map and box apart."""

    def file_name(self, layout: str, **parts: object) -> str:
        """File stem of an instance by a layout."""
        return layout.format(stem=self.stem, **parts)

    @property
    def extra_outputs(self) -> int:
        """How many outputs behind the map the graph derives from it."""
        return 0

    @property
    def ranked(self) -> int:
        """Size of the top-k set that the question is about; 0 for none."""
        return 0

    @property
    def tolerance(self) -> float | None:
        """By how much E may or must move; None where that is not asked."""
        return None

    @property
    def enough(self) -> float:
        """The score from which on there is a violation."""
        return 0.0

    @abstractmethod
    def clauses(self, reference: Array, label: int, logits: int) -> tuple[Clause, ...]:
        """The condition over the outputs Y = [logits [m], E [s], extra outputs].

        Args:
            reference: E [s] at xhat, by which `at` has completed the question.

        Raises:
            SalverError: a bound that is none.
        """

    def at(self, reference: Array, label: int, logits: int) -> Self:
        """The question with everything that follows from E [s] at xhat.

        Raises:
            SalverError: it does not fit the map.
            UndefinedConditionError: E at xhat gives it no meaning.
        """
        return self

    def network(self, graph: Network) -> Network:
        """The graph with the extra outputs behind X -> Concat[logits, E]."""
        return graph

    def extra(self, maps: Array) -> Array:
        """The extra outputs at maps [batch, s] from their definition [batch, extra]."""
        return np.empty((len(maps), 0))

    def score(self, logits: Array, maps: Array, reference: Array, label: int) -> Array:
        """What a search for a violation raises [batch], at logits [batch, m] and maps [batch, s].

        By default the margin of the clauses, which is >= 0 where they hold; see `enough`.
        """
        outputs = np.hstack([logits, maps, self.extra(maps)])
        none = np.empty(0)
        prop = Property(none, none, self.clauses(reference, label, logits.shape[1]), outputs.shape[1])
        return prop.margin(outputs)

    def class_text(self, label: int) -> str:
        """What is asked of the class besides, in words that follow `text`."""
        return ""

    def classes(self, label: int, logits: int) -> tuple[int, ...]:
        """The classes that x may have."""
        return tuple(range(logits))

    def top(self, values: Array) -> tuple[int, ...]:
        """The k largest entries of a map [s], largest first; empty where the question does not rank."""
        k = self.ranked
        return tuple(np.argsort(-values, kind="stable")[:k].tolist()) if 0 < k < len(values) else ()


def others(label: int, logits: int) -> tuple[int, ...]:
    """All classes but one.

    Raises:
        SalverError: there is no other.
    """
    if logits < 2:
        hint = "ask about the map alone, such as `entry-moves`"
        raise SalverError("a network with one output has no other class", "question", hint)
    return tuple(k for k in range(logits) if k != label)


def winner(logits: Array, label: int) -> int:
    """The class of the largest logit [m]; at a tie another one than the label."""
    best = np.flatnonzero(logits == logits.max())
    rivals = best[best != label]
    return int(rivals[0]) if len(rivals) else label


def lead_of_others(logits: Array, label: int) -> Array:
    """max over k != l of z_k - z_l [batch]; minus infinity where there is no other class."""
    if logits.shape[1] < 2:
        return np.full(len(logits), -np.inf)
    return np.asarray(np.delete(logits, label, axis=1).max(axis=1) - logits[:, label])


def largest_entries(k: int) -> str:
    """The top-k set in words."""
    return "largest entry" if k == 1 else f"{k} largest entries"
