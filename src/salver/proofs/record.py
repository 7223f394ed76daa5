"""Proof files, and the two files that a proof is about.

A proof is a header line and one JSON line per step, plain or gzip-compressed (docs/proofs.md has the steps):

    {"format": "salver-proof", "version": 3, "network": SHA-256, "property": SHA-256}
    {"do": "bound", "tensor": T, "at": [entry, ...], "lower": [0 or 1, ...], "by": ROWS}
    {"do": "decide", "switch": T, "at": [...], "side": [refuted side, ...], "by": ROWS}
    {"do": "drop", "clause": c, "parts": [refuted conjunction, ...], "by": ROWS}
    {"do": "close", "by": ROWS}
    {"do": "propagate"}
    {"do": "split", "switch": T, "at": entry}     the side z >= 0 first
    {"do": "divide", "at": entry, "where": number}     the side x >= number of the input first
    {"do": "case", "clause": c}                   its conjunctions in order

The hashes are of the files' bytes, unpacked. ROWS is a list of groups [kind, tensor, deductions, entries,
multipliers] (see `checker`); an entry of a group `atom` is [clause, conjunction, atom]. Nothing in a file is
executed; it is read a line at a time, and sizes are limited.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import stat
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from salver.core.errors import SalverError
from salver.core.files import write_atomically
from salver.proofs.checker import LimitError
from salver.proofs.onnx_file import NetworkFile, parse_network
from salver.proofs.vnnlib_file import ExactProperty, parse_property

MOST_BYTES = 1 << 30
"""Largest proof that is read, uncompressed."""
MOST_LINE_BYTES = 1 << 25
MOST_QUERY_BYTES = 1 << 29
"""Largest network or query that is read, uncompressed."""
DEEPEST = 20
LEVEL = 4
"""Of compression: level 6 takes twice the time for a twentieth of the bytes."""
VERSION = 3
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')


@dataclass(frozen=True)
class QueryFiles:
    """What stands in the two files of a query, unpacked."""

    network: bytes
    prop: bytes

    @staticmethod
    def read(onnx: Path, vnnlib: Path) -> QueryFiles:
        """Reads both files, plain or compressed; where one is missing, the one of that name with `.gz`.

        Raises:
            SalverError: one cannot be read, or is too large.
        """
        return QueryFiles(_content(onnx), _content(vnnlib))

    @cached_property
    def statement(self) -> tuple[NetworkFile, ExactProperty]:
        """What the files say.

        Raises:
            UnsupportedNetworkError, UnsupportedPropertyError: see `parse_network` and `parse_property`.
        """
        network = parse_network(self.network)
        return network, parse_property(self.prop, network)

    @property
    def header(self) -> dict[str, Any]:
        """The first line of a proof of this query."""
        return {
            "format": "salver-proof",
            "version": VERSION,
            "network": hashlib.sha256(self.network).hexdigest(),
            "property": hashlib.sha256(self.prop).hexdigest(),
        }


def _content(path: Path) -> bytes:
    packed = Path(f"{path}.gz")
    if not path.exists() and packed.exists():
        path = packed
    try:
        with _opened(path) as stream:
            content = stream.read(MOST_QUERY_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise SalverError(f"cannot be read ({_reason(error)})", str(path), "check the path") from error
    if len(content) > MOST_QUERY_BYTES:
        raise SalverError(f"is larger than {MOST_QUERY_BYTES} bytes", str(path), "use a smaller query")
    return content


def _opened(path: Path) -> IO[bytes]:
    """A regular file, unpacked while it is read. Raises: OSError: it is none, or cannot be read."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("it is no regular file")
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return io.BufferedReader(gzip.GzipFile(path, "rb")) if packed else path.open("rb")


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def write_proof(path: Path, files: QueryFiles, steps: Iterable[Any]) -> None:
    """Writes a proof, compressed where the name ends in `.gz`; the same steps give the same bytes."""
    lines = [files.header, *steps]
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines).encode()
    write_atomically(path, gzip.compress(text, LEVEL, mtime=0) if path.suffix == ".gz" else text)


def read_proof(path: Path, files: QueryFiles) -> Iterator[Any]:
    """The steps of a proof of this query, one after the other as the file is read.

    Raises:
        SalverError: the file cannot be read, is no proof, or proves another query.
        LimitError: it is of another version of the format, or larger than the limits.
    """
    lines = _lines(path)
    first = next(lines, None)
    where = str(path)
    if not isinstance(first, dict) or first.get("format") != "salver-proof":
        raise SalverError("is no salver-proof", where, "write the proof again")
    if type(first.get("version")) is not int:
        raise SalverError("is no salver-proof with a version", where, "write the proof again")
    if first["version"] != VERSION:
        raise LimitError(f"the proof is of version {first['version']}, this checker reads version {VERSION}")
    for part in ("network", "property"):
        if first.get(part) != files.header[part]:
            raise SalverError(
                f"proves something about another {part}", where, "give the files it was made for"
            )
    return lines


def _lines(path: Path) -> Iterator[Any]:
    total = 0
    try:
        with _opened(path) as stream:
            while line := stream.readline(MOST_LINE_BYTES + 1):
                total += len(line)
                if len(line) > MOST_LINE_BYTES or total > MOST_BYTES:
                    raise LimitError(
                        f"the proof has more than {MOST_BYTES} bytes, or {MOST_LINE_BYTES} in one line"
                    )
                yield _parse(line.decode())
    except OSError as error:
        raise SalverError(f"cannot be read ({_reason(error)})", str(path), "check the path") from error
    except (EOFError, zlib.error, ValueError, RecursionError) as error:
        raise SalverError(f"is no proof file ({error})", str(path), "write the proof again") from error


def _parse(line: str) -> Any:
    """One line of JSON. Raises: ValueError: no JSON, or nested so deeply that a parser may lose its stack."""
    depth = 0
    for found in _BRACKETS.finditer(line):
        bracket = found.group()
        if bracket[0] != '"':
            depth += 1 if bracket in "[{" else -1
        if depth > DEEPEST:
            raise ValueError(f"nested more than {DEEPEST} deep")
    return json.loads(line)
