"""The stage that turns a suite into an instance set."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

from threadpoolctl import threadpool_limits

from salver.errors import SalverError
from salver.generator import InstanceDraft
from salver.instance_set import read_manifest, set_folder, write_set
from salver.model import Manifest
from salver.plugins import choose, generators
from salver.records import parse_record
from salver.suite import Suite


def drafts(suite: Suite, data_dir: Path | None = None) -> Iterator[InstanceDraft]:
    """The drafts of every family of a suite, in the order of its file.

    Raises:
        SalverError: unknown family, bad parameters, missing data.
    """
    known = generators()
    prepared = []
    for number, entry in enumerate(suite.family, 1):
        generator = choose(entry.generator, known, "family")
        where = f"suite {suite.key}, family {number} ({entry.generator})"
        raw = {"data_dir": data_dir, **entry.params} if data_dir else dict(entry.params)
        prepared.append((generator(), parse_record(generator.parameters, raw, where), entry.timeout))
    for family, params, timeout in prepared:
        for draft in family.instances(params, suite.seed):
            yield replace(draft, timeout=draft.timeout or timeout)


def generate(
    suite: Suite,
    root: Path,
    data_dir: Path | None = None,
    workers: int = 2,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[Path, Manifest]:
    """Writes the suite's instance set and returns its folder and manifest.

    Raises:
        SalverError: as `drafts` and `write_set`.
    """
    if workers < 1:
        raise SalverError(f"{workers} workers", "--workers", "use at least one")
    folder = set_folder(root, suite)
    context = multiprocessing.get_context("spawn")
    # One BLAS thread: the matrices are small, and sums come out in the same order on every machine.
    with threadpool_limits(1), ProcessPoolExecutor(workers, mp_context=context) as pool:
        manifest = write_set(folder, suite, drafts(suite, data_dir), pool, progress)
    return folder, manifest


def up_to_date(suite: Suite, root: Path) -> Manifest | None:
    """The manifest of a set already generated from the same suite file by the same salver, or None."""
    from salver import __version__

    try:
        manifest = read_manifest(set_folder(root, suite))
    except SalverError:
        return None
    same = manifest.recipe == suite.recipe and manifest.salver == __version__
    return manifest if same else None
