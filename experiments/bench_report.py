"""What a bench leaves behind: tables printed for people, and a folder with the same as Markdown and CSV."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from tabulate import tabulate

from salver.core.files import fresh_folder, write_atomically
from salver.core.project import CHECKOUT


def as_text(table: pd.DataFrame, form: str) -> str:
    """The table in one of `tabulate`'s formats, cells as they are, with a newline at the end."""
    headers = [str(name) for name in table.columns]
    return tabulate(table.to_numpy().tolist(), headers, form, disable_numparse=True) + "\n"


def commit() -> str:
    """The commit that is measured, with `-dirty` behind it where files are changed; `unknown` without git."""
    command = ["git", "-C", str(CHECKOUT), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


class BenchReport:
    """A report as it grows, in the order in which a reader meets it.

    Args:
        title: first line of the Markdown file. say: takes what is printed.
    """

    def __init__(self, title: str, say: Callable[[str], None] = print) -> None:
        self.say = say
        self.parts = [f"# {title}\n"]
        self.files: dict[str, str | bytes] = {}

    def heading(self, text: str) -> None:
        """Begins a section, on the terminal too."""
        self.say(f"\n{text}")
        self.parts.append(f"## {text}\n")

    def text(self, text: str, *, printed: bool = True) -> None:
        """A paragraph, or a list in Markdown."""
        if printed:
            self.say(text)
        self.parts.append(f"{text}\n")

    def table(self, table: pd.DataFrame, stem: str = "", *, printed: bool = True) -> None:
        """A table, which is also the file `stem`.csv where a stem is given."""
        if printed:
            self.say(as_text(table, "plain").rstrip())
        self.parts.append(as_text(table, "github"))
        if stem:
            self.figures(table, stem)

    def figures(self, table: pd.DataFrame, stem: str) -> None:
        """A table for programs alone: the file `stem`.csv."""
        self.files[f"{stem}.csv"] = table.to_csv(index=False)

    def write(self, reports: Path, folder: str, stem: str) -> Path:
        """Writes all of it, the text as `stem`.md; returns the new folder `reports`/`folder`-TIME.

        Raises:
            SalverError: a file cannot be written.
        """
        made = fresh_folder(reports, folder)
        for name, content in {**self.files, f"{stem}.md": "\n".join(self.parts)}.items():
            write_atomically(made / name, content)
        self.say(f"report: {os.path.relpath(made / stem)}.md")
        return made
