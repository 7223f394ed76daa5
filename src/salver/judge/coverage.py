"""How much of a run is there: a report of a part of it must say so, and has no score."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from salver.runners.answers import RunRecord


@dataclass(frozen=True)
class Coverage:
    """Jobs with a result, of those that make every solver's results on every instance."""

    done: int
    jobs: int

    @property
    def unfinished(self) -> bool:
        """Whether a job is missing."""
        return self.done < self.jobs

    @property
    def told(self) -> str:
        """`13 of 91 jobs`."""
        return f"{self.done} of {self.jobs} jobs"

    @property
    def sentence(self) -> str:
        """What a report of an unfinished run says first; empty where it is finished."""
        if not self.unfinished:
            return ""
        return f"Unfinished run: {self.told}; {self.jobs - self.done} left. There is no score."


def coverage(
    records: Iterable[RunRecord], instances: int, solvers: Collection[str] = (), repetitions: int = 1
) -> Coverage:
    """Counts the jobs of records whose solvers are told apart.

    Args:
        instances: how many there are.
        solvers: that the run was planned with; one without any record counts as well.
        repetitions: that the run was planned with.
    """
    found = list(records)
    # A name that several settings have come out of is not asked for by itself.
    names = {record.solver for record in found}
    silent = {
        name for name in solvers if name not in names and not any(n.startswith(f"{name} (") for n in names)
    }
    most = max([repetitions, *(record.repetition + 1 for record in found)])
    return Coverage(len(found), len(names | silent) * instances * most)
