"""Questions in which the map is the same in some sense and the class is not (Le et al., ACML 2024)."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal, Self

from pydantic import Field

from salver.core.errors import SalverError
from salver.families import conditions
from salver.families.question import QUESTIONS, Array, Question, largest_entries, others
from salver.spec import Clause


class OtherClass(Question):
    """The map is the same in some sense, and another class wins (Le et al., ACML 2024, definition 3)."""

    targets: tuple[int, ...] = Field(default=(), description="classes that may win; all others where empty")
    winner: bool = Field(
        default=False, description="the single target beats all classes, not the label alone"
    )
    tie_rule = "a tie z_k = z_l counts as a violation"
    layout = "{map}-i{index}-e{epsilon:g}-{stem}"

    def at(self, reference: Array, label: int, logits: int) -> Self:
        wrong = next((k for k in self.targets if not 0 <= k < logits or k == label), None)
        if wrong is not None:
            choice = ", ".join(map(str, others(label, logits)))
            raise SalverError(f"class {wrong} is none that may win", "targets", f"choose among {choice}")
        return self.model_copy(update={"targets": self.targets or others(label, logits)})

    @property
    @abstractmethod
    def kept(self) -> str:
        """In which sense the map is the same, as a clause without symbols."""

    @property
    def in_words(self) -> str:
        return f"the class is another one and {self.kept}"

    def changed(self, label: int, logits: int) -> tuple[Clause, ...]:
        """The clauses on the class."""
        if self.winner:
            return conditions.class_is(self.targets[0], logits)
        return conditions.some_class_beats(label, self.targets)

    def classes(self, label: int, logits: int) -> tuple[int, ...]:
        return self.targets

    def class_text(self, label: int) -> str:
        *most, last = map(str, self.targets)
        named = f"{', '.join(most)} or {last}" if most else last
        return f", and the network gives it class {named} rather than {label}"

    @property
    def target_part(self) -> str:
        """The targets as a file-name part."""
        return "all" if len(self.targets) > 1 else f"t{self.targets[0]}"


@QUESTIONS.register
class SameMap(OtherClass):
    """No entry of the map moves by more than `delta`."""

    kind: Literal["same-map"] = "same-map"
    delta: float = Field(default=0.0, description="how far an entry of the map may move")
    meaning = "The map is the same up to the tolerance, the class is another one."
    falsified = "The same map can stand for another class, so it does not show what the decision depends on."

    @property
    def tolerance(self) -> float:
        return self.delta

    @property
    def kept(self) -> str:
        return f"no entry of the map moves by more than {self.delta:g}"

    @property
    def text(self) -> str:
        return f"|E(x) - E(xhat)|_inf <= {self.delta:g}"

    @property
    def stem(self) -> str:
        return f"d{self.delta:g}-{self.target_part}"

    def clauses(self, reference: Array, label: int, logits: int) -> tuple[Clause, ...]:
        return (*conditions.saliency_box(logits, reference, self.delta), *self.changed(label, logits))


@QUESTIONS.register
class SameSigns(OtherClass):
    """No entry changes its sign that is larger than `threshold` at xhat."""

    kind: Literal["same-signs"] = "same-signs"
    threshold: float = Field(default=0.0, ge=0, description="entries below it may change sign")
    meaning = "The signs of the map are the same, the class is another one."
    falsified = (
        "The same signs can stand for another class, so they do not show what the decision depends on."
    )

    @property
    def kept(self) -> str:
        above = f" above {self.threshold:g}" if self.threshold else ""
        return f"no entry of the map{above} changes its sign"

    @property
    def text(self) -> str:
        return f"sign E_j(x) = sign E_j(xhat) or 0 where |E_j(xhat)| > {self.threshold:g}"

    @property
    def stem(self) -> str:
        return f"signs-{self.target_part}"

    def clauses(self, reference: Array, label: int, logits: int) -> tuple[Clause, ...]:
        kept = conditions.same_signs(logits, reference, self.threshold)
        return (*kept, *self.changed(label, logits))


@QUESTIONS.register
class SameTopK(OtherClass):
    """The k largest entries stay the k largest."""

    kind: Literal["same-top-k"] = "same-top-k"
    k: int = Field(description="size of the top-k set")
    meaning = "The most important entries are the same, the class is another one."
    falsified = (
        "The same top entries can stand for another class, so they do not show what the decision depends on."
    )

    @property
    def ranked(self) -> int:
        return self.k

    @property
    def kept(self) -> str:
        return f"the {largest_entries(self.k)} of the map {'are' if self.k > 1 else 'is'} the same"

    @property
    def text(self) -> str:
        return f"top-{self.k} set of E(x) = that of E(xhat)"

    @property
    def stem(self) -> str:
        return f"top{self.k}-{self.target_part}"

    def clauses(self, reference: Array, label: int, logits: int) -> tuple[Clause, ...]:
        return (*conditions.same_top_k(logits, reference, self.k), *self.changed(label, logits))
