"""The columns of the results and of the leaderboard, each declared once.

The Parquet file, the CSV, Markdown and LaTeX tables, the terminal, the JSON of `salver report` and the page
read these two lists. A new column is an entry in one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import pandas as pd

from salver.families.instance import Facts, Instance
from salver.judge.judgement import JudgedRun, Outcome

OUTCOMES = tuple(str(outcome) for outcome in Outcome)
SOLVED = (str(Outcome.VERIFIED), str(Outcome.FALSIFIED))


@dataclass(frozen=True)
class ResultColumn:
    """One value for each run.

    Attributes:
        name: of the column; without `value` also the attribute of `Judgement`, or else of `RunRecord`.
        kind: type of its values.
        heading: on the page; empty where the page does not have it.
        digits: of a number on the page behind the decimal point; None for text. With more than 3 only those
            that it has are shown.
        hidden: whether the page shows it with a single run alone, and not in the table.
        value: how it is read off a run, where it is no attribute.
        fact: how it is read off the instance; None where the instance has no such fact.
    """

    name: str
    kind: Literal["str", "int64", "Int64", "float64"] = "str"
    heading: str = ""
    digits: int | None = None
    hidden: bool = False
    value: Callable[[JudgedRun], Any] | None = None
    fact: Callable[[Instance], Any] | None = None


def _fact(value: Callable[[Facts], Any]) -> Callable[[Instance], Any]:
    """Reads a fact of an instance; one of somebody else's set has none."""
    return lambda instance: None if instance.facts is None else value(instance.facts)


def _method(facts: Facts) -> str | None:
    return None if facts.explanation is None else facts.explanation.method


RESULTS = (
    ResultColumn("instance", heading="instance"),
    ResultColumn("solver", heading="solver"),
    ResultColumn("outcome", heading="outcome"),
    ResultColumn("wall_s", "float64", "wall (s)", 3),
    ResultColumn("detail", heading="detail"),
    ResultColumn("cpu_s", "float64", "CPU (s)", 3),
    ResultColumn("memory_mb", "float64", "memory (MiB)", 1),
    ResultColumn("claim", heading="said", hidden=True),
    ResultColumn("witness", heading="witness"),
    ResultColumn("proof", heading="proof"),
    ResultColumn("termination", heading="ended", hidden=True),
    ResultColumn("neurons", "int64", "ReLU neurons", 0, value=lambda _: -1),
    ResultColumn("family", heading="family"),
    ResultColumn("network", heading="network", fact=lambda instance: instance.subject),
    ResultColumn("question", heading="question", fact=_fact(lambda facts: facts.question.kind)),
    ResultColumn("epsilon", "float64", "epsilon", 6, fact=_fact(lambda facts: facts.epsilon)),
    ResultColumn("norm", heading="norm", fact=_fact(lambda facts: facts.norm)),
    ResultColumn("suite", heading="suite"),
    ResultColumn("limit_s", "float64", "limit (s)", 3),
    ResultColumn("repetition", "int64", "repetition", 0),
    ResultColumn("consistency", heading="consistency", hidden=True),
    ResultColumn("truth", heading="truth", hidden=True),
    ResultColumn("gradient", heading="gradient check", hidden=True),
    ResultColumn("delta", "float64", fact=_fact(lambda facts: facts.question.tolerance)),
    ResultColumn("k", "Int64", fact=_fact(lambda facts: facts.question.ranked or None)),
    ResultColumn("method", heading="method", fact=_fact(_method)),
    ResultColumn("dataset", fact=_fact(lambda facts: facts.dataset)),
    ResultColumn("index", "Int64", fact=_fact(lambda facts: facts.index)),
    ResultColumn("label", "Int64", fact=_fact(lambda facts: facts.label)),
    ResultColumn("expected", fact=_fact(lambda facts: facts.expected)),
    ResultColumn("instance_id"),
    ResultColumn("solver_version"),
    ResultColumn("measured"),
    ResultColumn("logs", value=lambda one: one.run.logs or ""),
    ResultColumn("key"),
)
"""In the order of the page's table. `neurons` is known to who has the networks (`results_frame`), else -1.

Of an instance without such a fact a text is empty and a number missing."""


@dataclass(frozen=True)
class BoardColumn:
    """One number for each solver in a suite or family.

    Attributes:
        name: of the column.
        of: its value of each run, from a table of results; None for the score, which a profile makes of the
            other columns.
        reads: columns of the results that `of` looks at.
        how: what is done with the values of a solver's runs. Means are not given for an unfinished run.
        heading: for readers; empty takes the name.
        short: in a terminal; empty takes the heading.
        digits: behind the decimal point; None for a count.
        always: whether a count that is zero everywhere is shown on the page and in LaTeX.
        best: which values are the better ones; empty where none is.
    """

    name: str
    of: Callable[[pd.DataFrame], pd.Series[Any]] | None
    reads: tuple[str, ...] = ()
    how: Literal["sum", "mean"] = "sum"
    heading: str = ""
    short: str = ""
    digits: int | None = None
    always: bool = False
    best: Literal["", "most", "least"] = ""

    @property
    def label(self) -> str:
        """Its heading for readers."""
        return self.heading or self.name


def par2_cost(runs: pd.DataFrame) -> pd.Series[float]:
    """Wall seconds of each run, twice the limit where it is not solved (PAR-2 of the SAT competitions)."""
    return runs["wall_s"].where(runs["outcome"].isin(SOLVED), 2 * runs["limit_s"])


def cpu_cost(runs: pd.DataFrame) -> pd.Series[float]:
    """CPU seconds of each run, twice the limit where it is unsolved for another reason than time."""
    had_time = runs["outcome"].isin((*SOLVED, "timeout"))
    return runs["cpu_s"].where(had_time, 2 * runs["limit_s"])


def _ended_so(outcome: str, runs: pd.DataFrame) -> pd.Series[bool]:
    return runs["outcome"] == outcome


def _proved(runs: pd.DataFrame) -> pd.Series[bool]:
    return (runs["outcome"] == "verified") & (runs["proof"] == "checked")


BOARD = (
    *(
        BoardColumn(
            outcome,
            partial(_ended_so, outcome),
            short={"unsupported": "unsup.", "out of memory": "memory"}.get(outcome, ""),
            always=outcome in (*SOLVED, "wrong"),
            best="most" if outcome in SOLVED else "",
        )
        for outcome in OUTCOMES
    ),
    BoardColumn("proved", _proved, ("proof",), best="most"),
    BoardColumn("score", None, digits=1, best="most"),
    BoardColumn("par2", par2_cost, ("wall_s", "limit_s"), "mean", "PAR-2 (s)", digits=2, best="least"),
)
"""From left to right. Each outcome is a column; `proved` counts the verified instances whose own proof was
accepted."""


@dataclass(frozen=True)
class ShareColumn:
    """One number for each solver on a group of instances, such as those about one network.

    Attributes:
        name: of the column.
        heading: for readers; empty takes the name.
        digits: behind the decimal point; None for a count or a share.
        share: it is a share of the instances; interval: it has one, in `NAME_low` and `NAME_high`.
        best: which values are the better ones for a solver; empty where none is.
    """

    name: str
    heading: str = ""
    digits: int | None = None
    share: bool = False
    interval: bool = False
    best: Literal["", "most", "least"] = ""

    @property
    def label(self) -> str:
        """Its heading for readers."""
        return self.heading or self.name

    @property
    def names(self) -> tuple[str, ...]:
        """Columns of the table of numbers that belong to it."""
        return (self.name, f"{self.name}_low", f"{self.name}_high") if self.interval else (self.name,)


SHARES = (
    ShareColumn("instances"),
    ShareColumn("verified", "verified [95%]", share=True, interval=True, best="most"),
    ShareColumn("falsified", "falsified [95%]", share=True, interval=True, best="most"),
    ShareColumn("open", share=True, best="least"),
    ShareColumn("wrong"),
    ShareColumn("par2", "PAR-2 (s)", digits=2, best="least"),
)
"""From left to right: shares of the instances verified and falsified, and of those left open between."""
