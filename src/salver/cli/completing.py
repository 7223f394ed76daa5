"""What the shell offers after a Tab: names of what there is. Nothing is imported before it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable

Complete = Callable[[str], list[str]]
"""What was typed so far -> what it may become."""


def names_in(place: str, *, listed: bool = False, ordered: bool = False, **given: object) -> Complete:
    """Completes with the names in `module:attribute`, which is a collection or a function that gives one.

    Args:
        listed: whether names stand in a list with commas. ordered: whether they are sorted first.
        given: arguments of the function.
    """

    def complete(incomplete: str) -> list[str]:
        module, _, attribute = place.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        names = found(**given) if callable(found) else found
        offer = in_a_list if listed else beginning
        return offer(incomplete, sorted(names) if ordered else names)

    return complete


def one_of(*words: str) -> Complete:
    """Completes an option with a few fixed values."""
    return lambda incomplete: beginning(incomplete, words)


suites = names_in("salver.families.suite:suite_paths")
families = names_in("salver.families.registry:generators", warn=False)
solver = names_in("salver.runners.registry:runners", ordered=True, warn=False)
solvers = names_in("salver.runners.registry:runners", listed=True, ordered=True, warn=False)
embedded_solvers = names_in("salver.solvers.registry:SOLVERS")
peers = names_in("salver.runners.foreign.peers:PEERS", ordered=True)
questions = names_in("salver.points.entries:known_questions")
methods = names_in("salver.points.entries:known_methods")
metrics = names_in("salver.metrics.measure:known_metrics", listed=True)
profiles = names_in("salver.judge.scoring:PROFILES")
keys = names_in("salver.judge.robustness:KEYS", listed=True)


def data_sets(incomplete: str) -> list[str]:
    """Names of data sets that can be fetched."""
    from salver.zoo.datasets.catalogue import NAMES
    from salver.zoo.datasets.record import DECLARED

    return beginning(incomplete, [name for name in NAMES if DECLARED[name].sources])


def runs(incomplete: str) -> list[str]:
    """Names of the runs below reports/, and `latest`."""
    from salver.core.project import project_root

    stored = sorted((project_root() / "reports").glob("*/manifest.json"), reverse=True)
    return beginning(incomplete, ["latest", *(path.parent.name for path in stored)])


def columns(incomplete: str) -> list[str]:
    """Columns of the leaderboard, in a list with commas."""
    from salver.judge.columns import BOARD

    return in_a_list(incomplete, [column.name for column in BOARD])


def beginning(incomplete: str, words: Iterable[str]) -> list[str]:
    """The words that begin with what was typed."""
    return [word for word in words if word.startswith(incomplete)]


def in_a_list(incomplete: str, words: Iterable[str]) -> list[str]:
    """The same for a list with commas; no word is offered twice."""
    given, comma, last = incomplete.rpartition(",")
    left = [word for word in words if word not in given.split(",")]
    return [f"{given}{comma}{word}" for word in beginning(last, left)]
