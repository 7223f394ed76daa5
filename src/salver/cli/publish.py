"""`salver publish`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from salver.cli.options import DataDir, SuiteKey
from salver.cli.stages import generated_set, print_generated
from salver.core.errors import FoundError, counted


def publish(
    suite: SuiteKey,
    out: Annotated[Path, typer.Option("--output", "-o", help="folder to write; its .tar.gz lands beside it")],
    url: Annotated[str | None, typer.Option("--url", help="page of the set, for the metadata")] = None,
    date: Annotated[str | None, typer.Option("--date", help="day of publication, YYYY-MM-DD")] = None,
    creator: Annotated[str | None, typer.Option("--creator", help="whom the metadata names")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="write nothing; say whether the folder is what would be written")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="replace another version of the set, or one changed by hand")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Write a suite's instance set as VNN-COMP takes it.

    A folder to submit, with an archive and metadata. What `[publication]` in the suite says goes into both.

    Example: salver publish bandit -o published-bandit --date 2026-12-01 --url https://example.org/bandit
    """
    from salver.core.records import parse_options
    from salver.families.suite import read_complete_suite
    from salver.publish.folder import SUMS, differences, prepare, refuse_strangers, write
    from salver.publish.rights import Terms, kept, terms_of

    chosen = read_complete_suite(suite)
    given = {"url": url, "date": date, "creator": creator}
    stated = {key: value for key, value in given.items() if value is not None}
    terms: Terms = parse_options(Terms, stated)
    if not check:
        refuse_strangers(out)
    if check or (out / SUMS).is_file():
        terms = kept(terms, chosen.publication, terms_of(out))
    made = generated_set(chosen, data_dir)
    print_generated(chosen, made)
    prepared = prepare(made.folder, terms, chosen.publication)
    if check:
        if found := differences(prepared, out):
            what = f"is not what {chosen.key} gives now: {counted(len(found), 'file')}, first {found[0]}"
            raise FoundError(what, str(out), "publish it again")
        print(f"{out}: is what {chosen.key} gives now")
        return
    written = write(prepared, out, force=force)
    census = prepared.census
    print(
        f"{chosen.key}: {counted(len(prepared.manifest.instances), 'instance')}, {census.drawn} a seed, "
        f"at most {census.most_seconds / 3600:.2f} h"
    )
    print(f"folder:  {os.path.relpath(written.folder)} ({written.folder_bytes:,} bytes)")
    print(f"archive: {os.path.relpath(written.archive)} ({written.archive_bytes:,} bytes)")
    if prepared.missing:
        print(f"croissant.json lacks what Croissant requires: give {' and '.join(prepared.missing)}")
