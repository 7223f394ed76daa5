"""VNN-COMP's `instances.csv`: one query a line, as its network, its VNN-LIB file and its seconds.

A query over several networks names them as Python writes a list of pairs:

    onnx/a.onnx,vnnlib/p.vnnlib,100
    "[('f', 'onnx/a.onnx'), ('g', 'onnx/b.onnx')]",./vnnlib/q.vnnlib,100
"""

from __future__ import annotations

import ast
import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass

from salver.core.errors import SalverError

MOST_NETWORKS = 64
MOST_ROWS = 200_000
_LONGEST = 1 << 16
NamedFiles = tuple[tuple[str, str], ...]
"""Names of networks in the query, and their files; a lone network without a name has an empty one."""


@dataclass(frozen=True)
class Row:
    """One line: the networks by name, the file of the query, the wall seconds, and where it stands."""

    networks: NamedFiles
    vnnlib: str
    timeout: float
    line: int


def read_rows(text: str, where: str) -> Iterator[Row]:
    """The lines of an `instances.csv`, empty ones left out.

    Raises:
        SalverError: another number of columns, no positive number of seconds, no list of networks, more than
            `MOST_ROWS` lines.
    """
    reader = csv.reader(text.removeprefix("\ufeff").splitlines(), strict=True, skipinitialspace=True)
    try:
        for read in reader:
            if not any(cell.strip() for cell in read):
                continue
            # A list of networks may have no quotes around it.
            listed = read[0].startswith("[") and len(read) > 3
            cells = [",".join(read[:-2]), *read[-2:]] if listed else read
            place = f"{where}, line {reader.line_num}"
            if reader.line_num > MOST_ROWS:
                raise SalverError(f"has more than {MOST_ROWS} lines", where, "split it into several sets")
            if len(cells) != 3 or not all(cell.strip() for cell in cells):
                what = f"{len(cells)} columns" if len(cells) != 3 else "an empty column"
                raise SalverError(what, place, "write network,query,seconds, without a header")
            networks, vnnlib, seconds = (cell.strip() for cell in cells)
            yield Row(network_files(networks, place), vnnlib, _seconds(seconds, place), reader.line_num)
    except csv.Error as error:
        place = f"{where}, line {reader.line_num}"
        raise SalverError(f"is no CSV ({error})", place, "write network,query,seconds") from error


def network_files(field: str, where: str) -> NamedFiles:
    """The networks of a query from VNN-COMP's field: a path, or a list of pairs of name and path.

    Raises:
        SalverError: it begins like a list and is none.
    """
    if not field.startswith("["):
        return (("", field),)
    try:
        found = ast.literal_eval(field) if len(field) <= _LONGEST else None
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        found = None
    pairs = [tuple(pair) for pair in found if isinstance(pair, tuple | list)] if found else []
    texts = all(len(pair) == 2 and all(isinstance(p, str) and p for p in pair) for pair in pairs)
    if not (found and texts and len(pairs) == len(found) <= MOST_NETWORKS):
        hint = "write [('f', 'a.onnx'), ('g', 'b.onnx')]"
        raise SalverError(f"{field[:60]!r} is no list of named networks", where, hint)
    if twice := next((name for n, (name, _) in enumerate(pairs) if name in dict(pairs[:n])), None):
        raise SalverError(f"network {twice[:40]!r} has two files", where, "name each network once")
    return tuple(pairs)


def _seconds(text: str, where: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise SalverError(
            f"{text[:40]!r} is no positive number of seconds", where, "correct its third column"
        )
    return seconds
