"""What a person says about a question at a point besides its own entries, as records."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import Field, field_validator

from salver.core.errors import SalverError
from salver.core.records import Record, parse_options
from salver.explain.unsupported import SCORES, unsupported
from salver.solvers.registry import embedded_solver
from salver.spec import Norm

LONGEST_S = 1e6
"""No timer of the system takes any number of seconds."""
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
R = TypeVar("R", bound=Record)
LOGIT = "logit"


def refuse_other_score(score: str) -> None:
    """Refuses to explain anything but logits.

    Raises:
        SalverError: with the reason where it is a probability.
    """
    if score == LOGIT:
        return
    hint = "explain a difference of two logits (minus), which is the log of the ratio of two probabilities"
    if found := unsupported(score, SCORES):
        raise SalverError(found.error("score").what, "score", hint)
    raise SalverError(f"there is none called {score!r:.60}", "score", f"explain a {LOGIT}")


class PointOptions(Record):
    """Which logit is explained, and what is known of the input.

    Attributes:
        label: the class that is explained; None for the one that the network gives the point.
        minus: the class whose logit is subtracted.
        absolute: sizes of the map's entries in place of the entries; None for where the question ranks them.
        input_range: lowest and highest value of an entry; None for that of the data set, or none.
        index: row of the data set. data_dir: the user's data folder.
        output: name of the output with the scores, of an ONNX file with several.
        score: what is explained: a logit, and nothing else.
        norm: in which inputs lie within a radius: the largest change of an entry, or the Euclidean distance.
    """

    label: int | None = None
    minus: int | None = None
    absolute: bool | None = None
    input_range: tuple[Finite, Finite] | None = None
    index: int | None = None
    data_dir: Path | None = None
    output: str | None = None
    score: str = LOGIT
    norm: Norm = "linf"

    @field_validator("score")
    @classmethod
    def _logit(cls, score: str) -> str:
        refuse_other_score(score)
        return score


class Solving(Record):
    """Who decides, and within what: an embedded solver, wall seconds, the seed of its attacks."""

    solver: str = "hybrid"
    timeout: float = Field(default=10.0, gt=0, le=LONGEST_S, allow_inf_nan=False)
    seed: int = Field(default=0, ge=0)

    @field_validator("solver")
    @classmethod
    def _known(cls, name: str) -> str:
        return embedded_solver(name).name


class Within(Record):
    """A radius that is asked about."""

    epsilon: Positive


class Bisection(Record):
    """Where the search for a radius begins, and when it is near enough."""

    most: Positive | None = None
    precision: float = Field(default=0.05, gt=0, lt=1)


def option_record(kind: type[R], values: Mapping[str, Any]) -> R:
    """A record of what a person says, by the names of its entries.

    Raises:
        SalverError: a value that it cannot have.
    """
    own = {name: plain(value) for name, value in values.items()}
    record: R = parse_options(kind, own, {name: name for name in kind.model_fields})
    return record


def plain(value: Any) -> Any:
    """A number of NumPy's as one of Python's; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value
