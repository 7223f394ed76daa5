"""The text of VNN-LIB 1.0 and 2.0 files as nested expressions.

Lenient about layout: any spacing and line ends, comments in any encoding, a byte order mark. Files are
untrusted: sizes are limited before anything is unpacked or counted, and work is linear in the text.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from salver.core.confined import open_regular
from salver.core.errors import SalverError

MOST_STORED_BYTES = 64 << 20
MOST_BYTES = 256 << 20
MOST_ENTRIES = 1 << 24
"""Largest number of entries of X or of Y."""
DEEPEST = 100
"""Most `(` open at one place."""

_TOKEN = re.compile(r';[^\n]*|[()]|"[^"\n]*"|[^\s();\[\]]*\[[^\[\]();\n]*\]|[^\s();]+')
FLAT = re.compile(r"([A-Za-z]\w*?)_(0|[1-9]\d{0,8})", re.ASCII)
INDEXED = re.compile(r"([A-Za-z]\w*)\[([\d, \t]*)\]", re.ASCII)
SHAPE = re.compile(r"\[([\d, \t]*)\]", re.ASCII)
_INDEX = re.compile(r"0|[1-9]\d{0,8}", re.ASCII)
NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
VERSIONS = {"<1.0>", "<2.0>"}
MOST_DIGITS = 2000
MOST_AXES = 16


@dataclass
class Expression:
    """What stands between `(` and `)`: words and expressions."""

    items: list[Any]
    line: int


def stored_text(path: Path) -> str:
    """Text of a file, plain or gzip-compressed.

    Bytes that are no UTF-8 become characters that only a comment or a name in quotes may hold.

    Raises:
        SalverError: the file is missing, is no text, is larger than `MOST_STORED_BYTES` or unpacked than
            `MOST_BYTES`.
    """
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            raw = _at_most(file, MOST_STORED_BYTES, path)
        if raw[:2] == b"\x1f\x8b":
            with gzip.open(io.BytesIO(raw)) as packed:
                raw = _at_most(packed, MOST_BYTES, path)
        if b"\0" in raw:
            raise SalverError("is no text", str(path), "name the query's VNN-LIB file here")
        return raw.decode(errors="surrogateescape")
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise SalverError(f"cannot be read ({reason})", str(path), "check the path") from error


def _at_most(stream: Any, limit: int, path: Path) -> bytes:
    raw: bytes = stream.read(limit + 1)
    if len(raw) > limit:
        raise SalverError(f"is larger than {limit >> 20} MiB", str(path), "split the query into smaller ones")
    return raw


def statements(text: str, where: str) -> Iterator[Expression]:
    """Top-level expressions. A line ends as in any text file: with LF, CR or both.

    Raises:
        SalverError: parentheses that do not match, or too many.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    stack: list[Expression] = []
    line, position = 1, 0
    for match in _TOKEN.finditer(text):
        line += text.count("\n", position, match.start())
        position = match.start()
        token = match.group()
        if token[0] == ";":
            continue
        if token == "(":
            if len(stack) == DEEPEST:
                what = f"more than {DEEPEST} parentheses are open"
                raise SalverError(what, f"{where}, line {line}", "write the condition flatter")
            stack.append(Expression([], line))
        elif token == ")":
            if not stack:
                raise SalverError("one ')' too many", f"{where}, line {line}", "correct the VNN-LIB file")
            done = stack.pop()
            if not stack:
                yield done
            else:
                stack[-1].items.append(done)
        elif not stack:
            raise SalverError(
                f"{token[:40]!r} stands outside any '('", f"{where}, line {line}", "correct the VNN-LIB file"
            )
        else:
            stack[-1].items.append(token)
    if stack:
        raise SalverError("'(' is never closed", f"{where}, line {stack[0].line}", "correct the VNN-LIB file")


def indices(text: str) -> tuple[int, ...] | None:
    """Numbers between commas, none where one of them is malformed."""
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    return tuple(int(part) for part in parts) if all(map(_INDEX.fullmatch, parts)) else None
