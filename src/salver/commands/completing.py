"""What the shell offers after a Tab: names of what there is. Nothing is imported before it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable


def suites(incomplete: str) -> list[str]:
    """Keys of the suites in benchmarks/."""
    from salver.suite import suite_paths

    return _beginning(incomplete, suite_paths())


def families(incomplete: str) -> list[str]:
    """Instance families."""
    from salver.plugins import generators

    return _beginning(incomplete, generators(warn=False))


def data_sets(incomplete: str) -> list[str]:
    """Names of data sets."""
    from salver.datasets.catalogue import NAMES

    return _beginning(incomplete, NAMES)


def solver(incomplete: str) -> list[str]:
    """Names of solvers."""
    from salver.plugins import runners

    return _beginning(incomplete, sorted(runners(warn=False)))


def solvers(incomplete: str) -> list[str]:
    """Names of solvers, in a list with commas; none is offered twice."""
    return _in_a_list(incomplete, solver(""))


def peers(incomplete: str) -> list[str]:
    """Verifiers of others that can be installed."""
    from salver.foreign.peers import PEERS

    return _beginning(incomplete, sorted(PEERS))


def runs(incomplete: str) -> list[str]:
    """Names of the runs below reports/, and `latest`."""
    from salver.project import project_root

    stored = sorted((project_root() / "reports").glob("*/manifest.json"), reverse=True)
    return _beginning(incomplete, ["latest", *(path.parent.name for path in stored)])


def profiles(incomplete: str) -> list[str]:
    """Ways to score."""
    from salver.judge.scoring import PROFILES

    return _beginning(incomplete, PROFILES)


def tables(incomplete: str) -> list[str]:
    """Tables of `bench solvers`, in a list with commas."""
    from salver.bench.solvers import PARTS

    return _in_a_list(incomplete, PARTS)


def one_of(*words: str) -> Callable[[str], list[str]]:
    """Completes an option with a few fixed values."""

    def complete(incomplete: str) -> list[str]:
        return _beginning(incomplete, words)

    return complete


def _beginning(incomplete: str, words: Iterable[str]) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]


def _in_a_list(incomplete: str, words: Iterable[str]) -> list[str]:
    given, comma, last = incomplete.rpartition(",")
    left = [word for word in words if word not in given.split(",")]
    return [f"{given}{comma}{word}" for word in _beginning(last, left)]
