"""A run as its folder holds it, ready to be judged: manifest, instance set, records, how much of it is there.

A report of a part of a run must say so, and has no score. Of one solver under several settings the records
are told apart by its name, so that no row of a table mixes them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from salver.core.confined import UnfitFileError, refuse_leaving
from salver.core.errors import SalverError
from salver.core.project import project_root
from salver.core.records import sharing_field_names
from salver.families.instance import Instance
from salver.families.instance_set import read_manifest
from salver.families.provenance import changed_files
from salver.families.selection import Selection, select
from salver.judge.loaded import LoadedSet, StoredRun, read_set
from salver.run.events import EventLog
from salver.run.kept_set import edited_since, kept_set, refuse_changed_set
from salver.run.manifest import RunManifest, find_run, read_run
from salver.runners.answers import RunRecord

PART = "A part of the set was run"
"""How a remark begins that says so."""


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
    def fraction(self) -> str:
        """`13 of 91 jobs`."""
        return f"{self.done} of {self.jobs} jobs"

    @property
    def sentence(self) -> str:
        """What a report of an unfinished run says first; empty where it is finished."""
        if not self.unfinished:
            return ""
        return f"Unfinished run: {self.fraction}; {self.jobs - self.done} left. There is no score."


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


@dataclass(frozen=True, eq=False)
class LoadedRun(StoredRun):
    """A run that travels: to the judge, the tables, the page and the gallery.

    Attributes:
        manifest: how it was made.
        coverage: how many of its jobs have a result.
        remarks: what a reader must know beside that, one line each.
    """

    manifest: RunManifest
    coverage: Coverage
    remarks: tuple[str, ...] = ()

    @property
    def notices(self) -> tuple[str, ...]:
        """What a reader must know before any figure, one line each; that the run is unfinished first."""
        return tuple(filter(None, [self.coverage.sentence, *self.remarks]))

    def part(self, selection: Selection) -> LoadedRun:
        """The run as if only these instances of it were there, and a remark that says so.

        Raises:
            SalverError: nothing is selected.
        """
        instances = _selected(self.instances, selection, self.folder.name)
        records = [one for one in self.records if one.instance_id in instances.by_id]
        covered = coverage(
            records, len(instances.by_id), self.manifest.solvers, self.manifest.options.repetitions
        )
        told = selection.part_of(len(instances.by_id), len(self.instances.by_id))
        remarks = (*self.remarks, *([f"A part of the run is reported: {told}."] if told else []))
        return replace(self, instances=instances, records=records, coverage=covered, remarks=remarks)


def _selected(whole: LoadedSet, selection: Selection, where: str) -> LoadedSet:
    chosen = select(tuple(whole.by_id.values()), selection, where)
    return replace(whole, by_id={one.id: one for one in chosen})


def load_run(run_dir: Path, root: Path, data_dir: Path | None = None) -> LoadedRun:
    """Reads a run.

    Args:
        root: of the project, where the suite's set is looked for if the run keeps none.
        data_dir: the user's data folder, for who draws its data.

    Raises:
        SalverError: no such run; its instance set was changed, or was since generated from another suite
            file; records that cannot be told apart.
    """
    manifest = read_run(run_dir)
    whole = read_set(set_of(run_dir, root, manifest), data_dir)
    instances = _selected(whole, manifest.options.selection, run_dir.name)
    part = manifest.options.selection.part_of(len(instances.by_id), len(whole.by_id))
    stored = list(EventLog(run_dir / "events.jsonl").records())
    records = split_by_settings(stored, instances.by_id)
    covered = coverage(records, len(instances.by_id), manifest.solvers, manifest.options.repetitions)
    remarks = [f"{PART}: {part}." if part else "", of_settings(stored, records)]
    remarks.append(_of_edits(manifest, run_dir, root))
    return LoadedRun(run_dir, instances, records, manifest, covered, tuple(filter(None, remarks)))


def named_run(name: str, data_dir: Path | None = None) -> LoadedRun:
    """A run of the project as a person names it; see `find_run` and `load_run`. Raises: SalverError."""
    root = project_root()
    return load_run(find_run(root, name), root, data_dir)


def of_settings(stored: Sequence[RunRecord], records: Sequence[RunRecord]) -> str:
    """What a reader must know where records are told apart by their settings; empty where none are."""
    if stored == records:
        return ""
    plain = {record.solver for record in stored}
    names = sorted({record.solver for record in records} - plain)
    return f"Several settings in one run, told apart as: {', '.join(names)}."


def _of_edits(run: RunManifest, run_dir: Path, root: Path) -> str:
    folder = root / run.instance_set
    compared = run.kept and not run.given and folder.is_dir()
    edited = edited_since(folder, run_dir) if compared else []
    if not edited:
        return ""
    more = f" and {len(edited) - 1} more" if edited[1:] else ""
    return (
        f"Changed on disk since the run began: {run.instance_set}/{edited[0]}{more}. "
        "The run was made and judged with its own copy."
    )


def set_of(run_dir: Path, root: Path, run: RunManifest) -> Path:
    """Folder of the instance set to judge a run with: the one it keeps, else the suite's.

    Raises:
        SalverError: a file of it was changed; the suite's is another one by now.
    """
    if run.kept:
        return kept_set(run_dir, run.kept)
    folder = _suite_set(run, root, run_dir)
    if read_manifest(folder).recipe != run.recipe:
        hint = f"generate {run.suite} from the suite file of that run, or run again"
        raise SalverError("its instance set has changed since", str(run_dir), hint)
    refuse_changed_set(folder)
    return folder


def changed_sources(run_dir: Path, root: Path) -> list[str]:
    """Files that a run's instances were made from and that are others now, where its suite's set is here."""
    run = read_run(run_dir)
    if run.given:
        return []
    try:
        folder = _suite_set(run, root, run_dir)
    except SalverError:
        return []
    return changed_files(folder)


def _suite_set(run: RunManifest, root: Path, run_dir: Path) -> Path:
    """Where a run's instance set lies: the manifest may be somebody else's, so only below the project."""
    try:
        refuse_leaving(run.instance_set)
    except UnfitFileError as error:
        where = str(run_dir / "manifest.json")
        raise SalverError(
            f"instance_set is {error.strerror}", where, "put the set below instances/"
        ) from error
    return root / run.instance_set


_OWN_LIMIT = "the suite's limits"
_SETTINGS: dict[str, Callable[[RunRecord], str]] = {
    "version": lambda r: r.solver_version,
    "device": lambda r: r.device,
    "cores": lambda r: f"{r.cores} core{'s' if r.cores > 1 else ''}" if r.cores else "",
    "memory": lambda r: f"{r.memory_limit_mb} MiB" if r.memory_limit_mb else "",
}
"""What a record was made with; empty where an old record does not say."""


def split_by_settings(records: Sequence[RunRecord], instances: Mapping[str, Instance]) -> list[RunRecord]:
    """The records, with the difference in the name of every solver that has several settings.

    These are its version, device, cores, memory and wall limits; `milp` becomes `milp (limit 10 s)` and
    `milp (limit 30 s)`.

    Raises:
        SalverError: two records that still are the same solver on the same instance in one repetition.
    """
    groups: dict[str, list[RunRecord]] = defaultdict(list)
    for record in records:
        groups[record.solver].append(record)
    names = {solver: _namer(group, instances) for solver, group in groups.items()}
    named = []
    seen: set[tuple[str, str, int]] = set()
    for record in records:
        name = names[record.solver](record)
        run = (name, record.instance_id, record.repetition)
        if run in seen:
            what = f"{name} has two results on {record.instance}, so nothing can be counted"
            raise SalverError(what, "events.jsonl", "run again without mixing runs in one folder")
        seen.add(run)
        named.append(record if name == record.solver else _renamed(record, name))
    return named


def _namer(group: Sequence[RunRecord], instances: Mapping[str, Instance]) -> Callable[[RunRecord], str]:
    settings = [told for told in _SETTINGS.values() if len({told(r) for r in group} - {""}) > 1]
    limit = _limit_teller(group, instances)

    def name(record: RunRecord) -> str:
        told = [setting(record) or "not known" for setting in settings]
        told += [limit(record)] if limit is not None else []
        return f"{record.solver} ({', '.join(told)})" if told else record.solver

    return name


def _limit_teller(
    group: Sequence[RunRecord], instances: Mapping[str, Instance]
) -> Callable[[RunRecord], str] | None:
    """What names the limit of a record; None where one rule gave all: one limit, or the instances' own."""

    def own(record: RunRecord) -> bool:
        instance = instances.get(record.instance_id)
        return instance is not None and record.limit_s == instance.timeout

    if len({record.limit_s for record in group}) == 1 or all(map(own, group)):
        return None
    several = len({record.limit_s for record in group if own(record)}) > 1
    return lambda r: _OWN_LIMIT if several and own(r) else f"limit {r.limit_s:g} s"


def _renamed(record: RunRecord, name: str) -> RunRecord:
    return sharing_field_names(record.model_copy(update={"solver": name}))
