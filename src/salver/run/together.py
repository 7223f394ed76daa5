"""Several runs of one set as if they were one, such as its shards, or solvers that were run later."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from salver.core.errors import SalverError
from salver.families.instance_set import read_manifest
from salver.families.selection import EVERYTHING
from salver.judge.compare import differences_between
from salver.judge.loaded import LoadedSet
from salver.run.loaded import PART, LoadedRun, coverage, of_settings, split_by_settings
from salver.runners.answers import RunRecord


def together(runs: Sequence[LoadedRun], folder: Path) -> LoadedRun:
    """The runs as one, whose records are those of all, one run behind the other.

    Files of instances and records stay with their runs: only those have them.

    Args:
        folder: of the whole, such as that of its report.

    Raises:
        SalverError: they are of different sets; a solver has two results on an instance.
    """
    first, *others = runs
    for other in others:
        for name in ("suite", "version", "seed", "recipe"):
            if getattr(other.manifest, name) != getattr(first.manifest, name):
                what = f"is of another instance set than {first.folder.name}"
                raise SalverError(what, other.folder.name, "report runs of one set together")
    whole = {one.id: one for run in runs for one in read_manifest(run.instances.folder).instances}
    known = set().union(*(run.instances.by_id for run in runs))
    by_id = {key: one for key, one in whole.items() if key in known}
    stored = [record for run in runs for record in run.records]
    try:
        records = split_by_settings(stored, by_id)
    except SalverError as error:
        named = ", ".join(run.folder.name for run in runs)
        raise SalverError(error.what, named, "leave one of the runs out") from error
    solvers = {name: version for run in runs for name, version in run.manifest.solvers.items()}
    repetitions = max(run.manifest.options.repetitions for run in runs)
    options = first.manifest.options.model_copy(update={"selection": EVERYTHING})
    manifest = first.manifest.model_copy(update={"solvers": solvers, "options": options})
    remarks = [*_remarks(runs), *_of_whole(len(by_id), len(whole), records), of_settings(stored, records)]
    return LoadedRun(
        folder,
        LoadedSet(first.instances.folder, by_id),
        records,
        manifest,
        coverage(records, len(by_id), solvers, repetitions),
        tuple(filter(None, remarks)),
    )


def _remarks(runs: Sequence[LoadedRun]) -> list[str]:
    """Which runs there are, how their machines differ, and what is said of each."""

    def load(run: LoadedRun) -> str:
        return "not known" if run.manifest.machine.load is None else str(run.manifest.machine.load)

    told = ", ".join(f"{run.folder.name} (load {load(run)})" for run in runs)
    first, *others = (run.manifest.machine for run in runs)
    differing = dict.fromkeys(line for other in others for line in differences_between(first, other))
    own = dict.fromkeys(line for run in runs for line in run.remarks if not line.startswith(PART))
    return [
        f"Runs reported together: {told}.",
        *(f"Not the same machine or packages: {line}." for line in differing),
        *own,
    ]


def _of_whole(taken: int, whole: int, records: Sequence[RunRecord]) -> list[str]:
    """That a part of the set was run, and that solvers had other limits."""
    remarks = [f"{PART}: {taken} of {whole} instances."] if taken < whole else []
    limits: dict[str, set[float]] = defaultdict(set)
    for record in records:
        limits[record.solver].add(record.limit_s)
    if len({frozenset(found) for found in limits.values()}) > 1:
        told = ", ".join(
            f"{solver} {' and '.join(f'{limit:g}' for limit in sorted(found))} s"
            for solver, found in sorted(limits.items())
        )
        remarks.append(f"The limits differ: {told}.")
    return remarks
