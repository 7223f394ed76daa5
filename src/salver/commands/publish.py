"""The commands `salver publish` and `salver verify-set`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from salver.commands.completing import suites
from salver.commands.values import DataDir

CORES = len(os.sched_getaffinity(0))


def publish(
    suite: Annotated[
        str, typer.Argument(help="key of a suite in benchmarks/, or a .toml file", autocompletion=suites)
    ],
    out: Annotated[Path, typer.Option("--output", "-o", help="folder to write; its .tar.gz lands beside it")],
    url: Annotated[str | None, typer.Option("--url", help="page of the set, for the metadata")] = None,
    date: Annotated[str | None, typer.Option("--date", help="day of publication, YYYY-MM-DD")] = None,
    creator: Annotated[str | None, typer.Option("--creator", help="whom the metadata names")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="write nothing; say whether the folder is what would be written")
    ] = False,
    workers: Annotated[int, typer.Option("--workers", "-j", help="jobs side by side")] = CORES,
    data_dir: DataDir = None,
) -> None:
    """Write a suite's instance set as VNN-COMP takes it.

    A folder to submit, with an archive and metadata.

    Example: salver publish bandit -o published/bandit --date 2026-12-01 --url https://example.org/bandit
    """
    from salver.cli import generate
    from salver.errors import SalverError
    from salver.instance_set import set_folder
    from salver.project import project_root
    from salver.publish.croissant import Terms
    from salver.publish.folder import differences, prepare, terms_of, write
    from salver.records import parse_options
    from salver.suite import read_suite

    chosen = read_suite(suite)
    given = {"url": url, "date": date, "creator": creator}
    stated = {key: value for key, value in given.items() if value is not None}
    terms = terms_of(out) if check else parse_options(Terms, stated)
    generate(suite, workers, data_dir)
    prepared = prepare(set_folder(project_root(), chosen), terms)
    if check:
        if found := differences(prepared, out):
            what = f"{len(found)} files differ from what {chosen.key} gives now, first {found[0]}"
            raise SalverError(what, str(out), "publish it again")
        print(f"{out}: is what {chosen.key} gives now")
        return
    written = write(prepared, out)
    census = prepared.census
    print(
        f"{chosen.key}: {len(prepared.manifest.instances)} instances, {census.drawn} a seed, "
        f"at most {census.most_seconds / 3600:.2f} h"
    )
    print(f"folder:  {os.path.relpath(written.folder)} ({written.folder_bytes:,} bytes)")
    print(f"archive: {os.path.relpath(written.archive)} ({written.archive_bytes:,} bytes)")
    if terms.missing:
        print(f"croissant.json lacks what Croissant requires: give {' and '.join(terms.missing)}")


def verify_set(
    path: Annotated[Path, typer.Argument(help="published folder, or its .tar.gz")],
) -> None:
    """Check a published set. Every checksum, then every instance again with ONNX Runtime and two readers.

    Example: salver verify-set published/bandit.tar.gz
    """
    from salver.errors import SalverError
    from salver.publish.verify import verify_set as verify

    manifest, complaints = verify(path)
    for complaint in complaints:
        print(f"{complaint.file}: {complaint.what}")
    if complaints:
        raise SalverError(
            f"{len(complaints)} complaints", str(path), "fetch the set again from its publisher"
        )
    print(f"{path}: {len(manifest.instances)} instances as published, and valid")
