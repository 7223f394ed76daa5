"""Records of one solver under several settings: told apart, so that no row of a table mixes them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from salver.core.errors import SalverError
from salver.core.records import lean
from salver.families.instance import Instance
from salver.runners.answers import RunRecord

_OWN_LIMIT = "the suite's limits"
_SETTINGS: dict[str, Callable[[RunRecord], str]] = {
    "version": lambda r: r.solver_version,
    "device": lambda r: r.device,
    "cores": lambda r: f"{r.cores} core{'s' if r.cores > 1 else ''}" if r.cores else "",
    "memory": lambda r: f"{r.memory_limit_mb} MiB" if r.memory_limit_mb else "",
}
"""What a record was made with; empty where an old record does not say."""


def told_apart(records: Sequence[RunRecord], instances: Mapping[str, Instance]) -> list[RunRecord]:
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
    return lean(record.model_copy(update={"solver": name}))
