"""What the shell offers after a Tab: names of what there is. Nothing is imported before it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable


def suites(incomplete: str) -> list[str]:
    """Keys of the suites in benchmarks/."""
    from salver.families.suite import suite_paths

    return beginning(incomplete, suite_paths())


def families(incomplete: str) -> list[str]:
    """Instance families."""
    from salver.families.registry import generators

    return beginning(incomplete, generators(warn=False))


def data_sets(incomplete: str) -> list[str]:
    """Names of data sets that can be fetched."""
    from salver.zoo.datasets.catalogue import NAMES
    from salver.zoo.datasets.record import DECLARED

    return beginning(incomplete, [name for name in NAMES if DECLARED[name].sources])


def solver(incomplete: str) -> list[str]:
    """Names of solvers."""
    from salver.runners.registry import runners

    return beginning(incomplete, sorted(runners(warn=False)))


def solvers(incomplete: str) -> list[str]:
    """Names of solvers, in a list with commas; none is offered twice."""
    return in_a_list(incomplete, solver(""))


def embedded_solvers(incomplete: str) -> list[str]:
    """Names of the solvers of this package."""
    from salver.solvers.registry import SOLVERS

    return beginning(incomplete, SOLVERS)


def questions(incomplete: str) -> list[str]:
    """Questions about a map."""
    from salver.points.entries import known_questions

    return beginning(incomplete, known_questions())


def methods(incomplete: str) -> list[str]:
    """Methods of explaining."""
    from salver.points.entries import known_methods

    return beginning(incomplete, known_methods())


def metrics(incomplete: str) -> list[str]:
    """Metrics of robustness, in a list with commas."""
    from salver.metrics.measure import known_metrics

    return in_a_list(incomplete, known_metrics())


def peers(incomplete: str) -> list[str]:
    """Verifiers of others that can be installed."""
    from salver.runners.foreign.peers import PEERS

    return beginning(incomplete, sorted(PEERS))


def runs(incomplete: str) -> list[str]:
    """Names of the runs below reports/, and `latest`."""
    from salver.core.project import project_root

    stored = sorted((project_root() / "reports").glob("*/manifest.json"), reverse=True)
    return beginning(incomplete, ["latest", *(path.parent.name for path in stored)])


def profiles(incomplete: str) -> list[str]:
    """Ways to score."""
    from salver.judge.scoring import PROFILES

    return beginning(incomplete, PROFILES)


def keys(incomplete: str) -> list[str]:
    """What instances can be grouped by, in a list with commas."""
    from salver.judge.robustness import KEYS

    return in_a_list(incomplete, KEYS)


def columns(incomplete: str) -> list[str]:
    """Columns of the leaderboard, in a list with commas."""
    from salver.judge.columns import BOARD

    return in_a_list(incomplete, [column.name for column in BOARD])


def one_of(*words: str) -> Callable[[str], list[str]]:
    """Completes an option with a few fixed values."""

    def complete(incomplete: str) -> list[str]:
        return beginning(incomplete, words)

    return complete


def beginning(incomplete: str, words: Iterable[str]) -> list[str]:
    """The words that begin with what was typed."""
    return [word for word in words if word.startswith(incomplete)]


def in_a_list(incomplete: str, words: Iterable[str]) -> list[str]:
    """The same for a list with commas; no word is offered twice."""
    given, comma, last = incomplete.rpartition(",")
    left = [word for word in words if word not in given.split(",")]
    return [f"{given}{comma}{word}" for word in beginning(last, left)]
