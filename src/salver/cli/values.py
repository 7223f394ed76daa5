"""Values of options that several commands read in the same way."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from salver.core.errors import SalverError

DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", exists=True, file_okay=False, help="your data folder (default: SALVER_DATA)"),
]


def listed(text: str | None, option: str) -> tuple[str, ...] | None:
    """The words of a list with commas; None where the option was not given.

    Raises:
        SalverError: no word, an empty one, or one twice. An empty list is never taken for all there is.
    """
    if text is None:
        return None
    words = tuple(word.strip() for word in text.split(","))
    if not any(words):
        raise SalverError("names nothing", option, "give names with commas between, or leave the option out")
    if not all(words):
        raise SalverError(f"{text[:60]!r} has an empty name", option, "give names with single commas between")
    if twice := next((word for number, word in enumerate(words) if word in words[:number]), None):
        raise SalverError(f"{twice!r} is named twice", option, "name each once")
    return words
