"""Proof files: a header line and one JSON line per step, plain or gzip-compressed.

    {"format": "salver-proof", "version": 1, "network": SHA-256, "property": SHA-256}
    {"do": "bound", "tensor": T, "at": [entry, ...], "lower": [0 or 1, ...], "by": ROWS}
    {"do": "decide", "switch": T, "at": [...], "side": [refuted side, ...], "by": ROWS}
    {"do": "drop", "clause": c, "parts": [refuted conjunction, ...], "by": ROWS}
    {"do": "close", "by": ROWS}
    {"do": "propagate"}
    {"do": "split", "switch": T, "at": entry}     the side z >= 0 first
    {"do": "case", "clause": c}                   its conjunctions in order

ROWS is a list of groups [kind, tensor, deductions, entries, multipliers] (see `checker`); an entry of a group
`atom` is [clause, conjunction, atom]. Nothing in a file is executed, and a size limit is kept.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import zlib
from pathlib import Path
from typing import Any

from salver.errors import SalverError
from salver.files import write_atomically
from salver.nets.network import Network
from salver.spec import Property

PROOF_FILE = "unsat.proof"
"""Name of the proof among a run's result files."""
MOST_BYTES = 1 << 30
"""Largest proof that is read, uncompressed."""
DEEPEST = 20
_BRACKETS = re.compile(r"[\[\]{}]")


def header(network: Network, prop: Property) -> dict[str, Any]:
    """The first line of a proof of this query."""
    text = repr((prop.input_lower.tolist(), prop.input_upper.tolist(), prop.clauses, prop.output_count))
    return {
        "format": "salver-proof",
        "version": 1,
        "network": network.sha256(),
        "property": hashlib.sha256(text.encode()).hexdigest(),
    }


def write_proof(path: Path, network: Network, prop: Property, steps: list[Any]) -> None:
    """Writes a proof, compressed where the name ends in `.gz`; the same steps give the same bytes."""
    lines = [header(network, prop), *steps]
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines).encode()
    write_atomically(path, gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)


def _parse(line: str) -> Any:
    """One line of JSON. Raises: ValueError: no JSON, or nested so deeply that a parser may lose its stack."""
    depth = 0
    for bracket in _BRACKETS.findall(line):
        depth += 1 if bracket in "[{" else -1
        if depth > DEEPEST:
            raise ValueError(f"nested more than {DEEPEST} deep")
    return json.loads(line)


def read_proof(path: Path, network: Network, prop: Property) -> list[Any]:
    """The steps of a proof of this query.

    Raises:
        SalverError: the file cannot be read, is no proof, or proves another query.
    """
    where = str(path)
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if compressed else path.open("rb") as stream:
            raw = stream.read(MOST_BYTES + 1)
        lines = [_parse(line) for line in raw.decode().splitlines()] if len(raw) <= MOST_BYTES else []
    except OSError as error:
        raise SalverError(f"cannot be read ({error.strerror or error})", where, "check the path") from error
    except (EOFError, zlib.error, ValueError, RecursionError) as error:
        raise SalverError(f"is no proof file ({error})", where, "write the proof again") from error
    if len(raw) > MOST_BYTES:
        raise SalverError(f"is larger than {MOST_BYTES} bytes", where, "split the query into smaller ones")
    first = lines[0] if lines else None
    if not isinstance(first, dict) or first.get("format") != "salver-proof" or first.get("version") != 1:
        raise SalverError("is no salver-proof of version 1", where, "write the proof again")
    expected = header(network, prop)
    for part in ("network", "property"):
        if first.get(part) != expected[part]:
            raise SalverError(
                f"proves something about another {part}", where, "give the files it was made for"
            )
    return lines[1:]
