"""Measured tables: a record of each measurement, and the page that is made of it.

`python -m experiments.measurements` makes the pages of `docs/measurements/` from the records beside them.
`python -m experiments.measurements keep NAME FOLDER` makes the record of a run, or of what a bench has
written, with the commit, the machine and the date; what an earlier record of that name says in words is kept.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from experiments.bench_report import commit
from salver.core.errors import SalverError
from salver.core.files import write_atomically
from salver.core.records import Record, parse_record
from salver.judge.machine import Machine
from salver.run.machine import this_machine

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "measurements"
MOST_ROWS = 120
"""Most rows of a table of a bench that is kept: a page is read by people."""
BOARD = "leaderboard.csv"
_NUMBER = re.compile(r"-?[0-9]|$|-$")
_ROW = re.compile(r"\[\s+((?:\"(?:[^\"\\]|\\.)*\",?\s+)+)\]")


class Block(Record):
    """A paragraph or list of a page, or a table.

    Attributes:
        text: in Markdown; empty for a table.
        columns, rows: cells in Markdown.
    """

    text: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


class MeasuredPage(Record):
    """What was measured, how it is measured again, and what came out.

    Attributes:
        title: of the page.
        about: page of `docs/` that explains what is measured.
        command: makes the run again.
        commit, date: of salver, and the day, when the figures were written down.
        machine: processor, cores and load, as far as known.
        blocks: the page below these.
    """

    title: str
    about: str
    command: str
    commit: str
    date: str
    machine: str
    blocks: tuple[Block, ...]


def read(path: Path) -> MeasuredPage:
    """A record of `docs/measurements/`.

    Raises:
        SalverError: it is no JSON, or has another form.
    """
    try:
        raw = json.loads(path.read_text())
    except ValueError as error:
        raise SalverError("is no JSON", str(path), "make the record again with `keep`") from error
    found: MeasuredPage = parse_record(MeasuredPage, raw, str(path))
    return found


def page(found: MeasuredPage) -> str:
    """The page of a record, in Markdown."""
    facts = (
        ("command", f"`{found.command}`"),
        ("figures written down", f"{found.date}, salver at commit `{found.commit}`"),
        ("machine", found.machine),
        ("what it means", f"[{found.about}](../{found.about})"),
    )
    parts = [f"# Measured: {found.title}", _table(("measured", ""), facts), *map(_written, found.blocks)]
    made = "<!-- Made by `python -m experiments.measurements` from the record of this name. -->"
    return "\n\n".join([made, *parts]) + "\n"


def index(records: Sequence[tuple[str, MeasuredPage]]) -> str:
    """The list of all pages."""
    rows = [
        (f"[{found.title}]({name}.md)", f"[{found.about}](../{found.about})", found.date)
        for name, found in records
    ]
    told = (
        "Every page here is made by a command from a record beside it.\n"
        "It names the machine, the day, and the commit of salver at which the figures were written down."
    )
    made = "<!-- Made by `python -m experiments.measurements`. -->"
    return (
        "\n\n".join([made, "# Measurements", told, _table(("measured", "explained in", "date"), rows)]) + "\n"
    )


def pages(folder: Path = FOLDER) -> dict[str, str]:
    """Every page by its file's name, as the records in a folder make it."""
    records = [(path.stem, read(path)) for path in sorted(folder.glob("*.json"))]
    return {f"{name}.md": page(found) for name, found in records} | {"index.md": index(records)}


def kept(folder: Path, title: str, about: str, command: str, words: Sequence[Block] = ()) -> MeasuredPage:
    """The record of a run or a bench.

    Args:
        folder: of a run in `reports/`, whose leaderboard is kept, or one that a bench has written.
        words: paragraphs for the end of the page.

    Raises:
        SalverError: the folder has no table.
    """
    board, manifest = folder / BOARD, folder / "manifest.json"
    files = [board] if board.is_file() else sorted(folder.glob("*.csv"))
    tables = [table for table in map(_read_table, files) if 0 < len(table.rows) <= MOST_ROWS]
    if not tables:
        raise SalverError(
            "holds no table that fits a page", str(folder), "name a run, or the folder of a bench"
        )
    machine = this_machine()
    if manifest.is_file():
        machine = Machine.model_validate(json.loads(manifest.read_text())["machine"])
    return MeasuredPage(
        title=title,
        about=about,
        command=command,
        commit=commit(),
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        machine=_described(machine),
        blocks=(*tables, *words),
    )


def as_json(found: MeasuredPage) -> str:
    """A record as it is stored: a row of a table on one line."""
    text = json.dumps(found.model_dump(exclude_defaults=True), indent=1, ensure_ascii=False)
    return _ROW.sub(lambda row: f"[{' '.join(row[1].split())}]", text) + "\n"


def _read_table(path: Path) -> Block:
    header, *rows = csv.reader(io.StringIO(path.read_text()))
    return Block(columns=tuple(header), rows=tuple(map(tuple, rows)))


def _written(block: Block) -> str:
    return block.text or _table(block.columns, block.rows)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of numbers stand to the right."""
    right = [bool(rows) and all(_NUMBER.match(cell) for cell in cells) for cells in zip(*rows, strict=True)]
    marks = ["---:" if number and place else "---" for place, number in enumerate(right)]
    lines = [f"| {' | '.join(columns)} |", f"|{'|'.join(marks)}|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _described(machine: Machine) -> str:
    load = "" if machine.load is None else f", load {machine.load:.1f} at the start"
    return f"{machine.processor or machine.system}, {machine.cores} cores{load}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes the pages, or first a record; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    actions = parser.add_subparsers(dest="action")
    keep = actions.add_parser("keep", help="make the record of a run or a bench")
    keep.add_argument("name", help="of the page")
    keep.add_argument("folder", type=Path, help="reports/RUN, or the folder that a bench has written")
    for option in ("title", "about", "command"):
        keep.add_argument(f"--{option}", help="of the record; needed where there is none of this name yet")
    given = parser.parse_args(arguments)
    try:
        if given.action == "keep":
            path = FOLDER / f"{given.name}.json"
            old = read(path) if path.is_file() else None
            title, about, command = (
                getattr(given, name) or getattr(old, name, None) for name in ("title", "about", "command")
            )
            if title is None or about is None or command is None:
                raise SalverError("there is no record of this name", given.name, "give all of its options")
            words = [block for block in old.blocks if block.text] if old else []
            write_atomically(path, as_json(kept(given.folder, title, about, command, words)))
        for name, text in pages().items():
            write_atomically(FOLDER / name, text)
            print(FOLDER / name)
    except SalverError as error:
        print(f"measurements: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
