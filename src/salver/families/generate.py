"""The stage that turns a suite into an instance set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from threadpoolctl import threadpool_limits

from salver.core.errors import SalverError
from salver.core.plugins import choose
from salver.core.records import parse_record
from salver.families import provenance
from salver.families.generator import Generator, InstanceDraft, Parameters
from salver.families.instance import Manifest
from salver.families.instance_set import read_manifest, set_folder, write_set
from salver.families.named_files import relative_to
from salver.families.registry import generators
from salver.families.selection import EVERYTHING, Selection, fitting, fitting_names, select
from salver.families.suite import Suite


@dataclass(frozen=True)
class Family:
    """One `[[family]]` of a suite, ready to draw instances: generator, its parameters, seconds a run."""

    generator: Generator
    params: Parameters
    timeout: float | None
    where: str

    def instances(self, seed: int) -> Iterator[InstanceDraft]:
        """Its drafts. Raises: SalverError: told with the family's place in the suite."""
        try:
            yield from self.generator.instances(self.params, seed)
        except SalverError as error:
            raise error.within(self.where) from error.__cause__

    def files(self) -> Iterator[Path]:
        """The files that its instances are made from."""
        return self.generator.files(self.params)


def families_of(suite: Suite, data_dir: Path | None = None) -> list[Family]:
    """The families of a suite in the order of its file; paths in it are relative to that file.

    Raises:
        SalverError: unknown family, bad parameters.
    """
    known = generators()
    found = []
    for number, entry in enumerate(suite.family, 1):
        kind = choose(entry.generator, known, "family")
        where = f"suite {suite.key}, family {number} ({entry.generator})"
        stated = relative_to(suite.file.parent, entry.params) if suite.file else dict(entry.params)
        raw = {"data_dir": data_dir, **stated} if data_dir else stated
        found.append(Family(kind(), parse_record(kind.parameters, raw, where), entry.timeout, where))
    return found


def drafts(
    suite: Suite, data_dir: Path | None = None, note: Callable[[str], None] = lambda _: None
) -> Iterator[InstanceDraft]:
    """The drafts of every family of a suite, in the order of its file.

    Args:
        note: called with what the suite's author should know, such as fewer test points than asked for.

    Raises:
        SalverError: unknown family, bad parameters, missing data.
    """
    yield from _drawn(families_of(suite, data_dir), suite.seed, note)


def _drawn(families: Sequence[Family], seed: int, note: Callable[[str], None]) -> Iterator[InstanceDraft]:
    for family in families:
        points = set()
        for draft in family.instances(seed):
            points.add(draft.facts.index)
            yield replace(draft, timeout=draft.timeout or family.timeout)
        if 0 < len(points) < family.params.wanted:
            note(f"{family.where}: {family.params.unused(points)}")


def generate(
    suite: Suite,
    root: Path,
    data_dir: Path | None = None,
    progress: Callable[[int], None] = lambda _: None,
    into: Path | None = None,
    selection: Selection = EVERYTHING,
) -> tuple[Path, Manifest]:
    """Writes the suite's instance set and returns its folder and manifest.

    Args:
        into: folder of the set; None for the suite's own below instances/.
        selection: the part of it that is made; its title says so.

    Raises:
        SalverError: as `drafts` and `write_set`.
    """
    folder = into or set_folder(root, suite)
    suite = part_of(suite, selection) if selection.text else suite
    families = families_of(suite, data_dir)
    files = [path for family in families for path in family.files()]
    kinds = dict.fromkeys(type(family.generator) for family in families)
    ingredients = provenance.gathered(suite.text, files, kinds, data_dir)
    notes: list[str] = []
    drawn = _selected(_drawn(families, suite.seed, notes.append), selection, suite.key)
    # One BLAS thread: the matrices are small, and sums come out in the same order on every machine.
    with threadpool_limits(1):
        manifest = write_set(folder, suite, drawn, progress, ingredients, notes)
    return folder, manifest


def part_of(suite: Suite, selection: Selection) -> Suite:
    """A suite whose set is a part of another's: titled so, and without the families that are left out.

    Raises:
        SalverError: no family of the suite is selected.
    """
    names = list(dict.fromkeys(entry.generator for entry in suite.family))
    wanted = fitting_names(names, "family", selection.family)
    entries = tuple(entry for entry in suite.family if entry.generator in wanted)
    return suite.model_copy(update={"family": entries, "title": f"{suite.title} (part: {selection.text})"})


class _Seen(NamedTuple):
    """What a selection looks at, of a draft that need not be kept."""

    name: str
    family: str
    subject: str


def _selected(drawn: Iterator[InstanceDraft], selection: Selection, where: str) -> Iterator[InstanceDraft]:
    """The selected ones among drafts that are drawn one after another.

    Raises:
        SalverError: there is none; the nearest names are named.
    """
    seen: list[_Seen] = []

    def noted() -> Iterator[InstanceDraft]:
        for draft in drawn:
            seen.append(_Seen(draft.name, draft.family, draft.subject))
            yield draft

    none = True
    for draft in fitting(noted(), selection):
        none = False
        yield draft
    if none and seen:
        select(seen, selection, where)


def up_to_date(suite: Suite, root: Path, data_dir: Path | None = None) -> Manifest | None:
    """The manifest of a set already made from the same suite, files, families and salver; None otherwise."""
    folder = set_folder(root, suite)
    made = provenance.read_made(folder)
    if made is None or not provenance.is_unchanged(made.ingredients, suite.text, data_dir):
        return None
    try:
        return read_manifest(folder)
    except SalverError:
        return None
