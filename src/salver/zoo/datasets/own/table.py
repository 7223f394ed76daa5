"""A table as comma-separated values: a line of names, then a row for each input and its class."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

import numpy as np
from numpy.typing import NDArray

from salver.core.confined import read_regular
from salver.core.errors import SalverError, file_error, suggestion
from salver.zoo.datasets.own.options import DataOptions
from salver.zoo.datasets.own.raw import COMMON, NUMBER, Part, RawData

MOST_BYTES = 512 << 20
LABELS = ("label", "class", "target", "y")
"""Names by which the column of the classes is known where none is given, in either case."""


_MISSING = ("na", "n/a", "nan", "null", "none", "?", "-")
"""How tables write that a value is not known."""


def read_csv(path: Path, where: str, options: DataOptions) -> RawData:
    """A table in UTF-8 with commas, semicolons or tabs between columns: what the first line has most of.

    Raises:
        SalverError: no such file, no line of names, no column of classes, or a cell that is no number.
    """
    options.refuse_others(COMMON | {"label"}, where, "a .csv file")
    try:
        text = read_regular(path, MOST_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise file_error(error, where, "read") from error
    except UnicodeDecodeError as error:
        raise SalverError("is no text in UTF-8", where, "save it as UTF-8") from error
    names, rows, lines = _rows(text, where)
    label = _label_column(names, options.label, where)
    features = tuple(name for place, name in enumerate(names) if place != label)
    cells = [[cell for place, cell in enumerate(row) if place != label] for row in rows]
    labels = np.array([row[label].strip() for row in rows])
    for number, found in enumerate(labels.tolist()):
        if not found:
            raise SalverError(f"line {lines[number]}: {names[label]} is empty", where, "state its class")
    part = Part(_numbers(cells, features, lines, where), labels, lambda number: f"line {lines[number]}")
    return RawData(where, path.name, part, features=features)


def _rows(text: str, where: str) -> tuple[list[str], list[list[str]], list[int]]:
    """Names of the columns, the rows below, and the line that each ends at."""
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    names: list[str] = []
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if not names:
                names = [cell.strip() for cell in row]
                continue
            if len(row) != len(names):
                what = f"line {reader.line_num} has {len(row)} cells, the first line has {len(names)}"
                raise SalverError(what, where, "give every row the same columns")
            rows.append(row)
            lines.append(reader.line_num)
    except csv.Error as error:
        raise SalverError(f"line {reader.line_num}: {error}", where, "correct the table") from error
    _refuse_header(names, where)
    if not rows:
        raise SalverError("holds no rows", where, "give a line of names and a row for each input")
    return names, rows, lines


def _refuse_header(names: Sequence[str], where: str) -> None:
    if not names:
        raise SalverError("is empty", where, "give a line of names and a row for each input")
    if all(map(NUMBER.fullmatch, names)):
        raise SalverError("has no line of names", where, "name the columns in the first line")
    for place, name in enumerate(names, 1):
        if not name:
            hint = "name it, or leave it out (pandas: to_csv(path, index=False))"
            raise SalverError(f"column {place} has no name", where, hint)
        if names.count(name) > 1:
            raise SalverError(f"column {name} stands there twice", where, "give every column its own name")


def _label_column(names: Sequence[str], stated: str | None, where: str) -> int:
    if stated is not None:
        if stated not in names:
            raise SalverError(f"has no column {stated!r}", where, suggestion(stated, names))
        return list(names).index(stated)
    found = [place for place, name in enumerate(names) if name.lower() in LABELS]
    if len(found) != 1:
        what = "no column is" if not found else "more than one column is"
        stated = f'dataset = {{ path = "{Path(where).name}", label = "{names[-1]}" }}'
        hint = f"name it: --label {quote(names[-1])}, or in a suite {stated}"
        raise SalverError(f"{what} called {', '.join(LABELS[:-1])} or {LABELS[-1]}", where, hint)
    return found[0]


def _numbers(
    cells: list[list[str]], features: Sequence[str], lines: Sequence[int], where: str
) -> NDArray[np.float64]:
    """The cells as numbers [rows, features]."""
    if not features:
        raise SalverError("has no column but the classes", where, "give the features too")
    for number, row in enumerate(cells):
        for place, cell in enumerate(row):
            if NUMBER.fullmatch(cell) is None:
                said = f"is {cell.strip()[:40]!r}, not a number" if cell.strip() else "is empty"
                what = f"line {lines[number]}: {features[place]} {said}"
                hint = "write it as a finite number, one-hot columns for words, or leave the column out"
                if not cell.strip() or cell.strip().lower() in _MISSING:
                    hint = "fill it in, or leave the row or the column out"
                elif NUMBER.fullmatch(cell.replace(",", ".")):
                    hint = "write decimals with a point (pandas: read_csv(path, sep=';', decimal=','))"
                raise SalverError(what, where, hint)
    return np.array([[float(cell) for cell in row] for row in cells], np.float64)
