"""Finds the commands in the project's Markdown, and holds them against the real command-line parsers.

A block is run by `test_commands.py` unless a comment on the line before it says otherwise:

    <!-- test: slow -->            too slow to run here: every line must parse
    <!-- test: skip REASON -->     cannot be run here: the lines of our own commands must parse
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import typer

from salver.core.command_line import options_of
from salver.proofs.command import proof_parser
from salver.solvers.arguments import CHECK_PROOF, build_parser
from salver.solvers.registry import SOLVERS
from tests.builders.command_line import app

ROOT = Path(__file__).resolve().parents[2]
SHELLS = ("bash", "sh", "shell", "console")
_COMMENT = re.compile(r"<!-- test: (slow|skip)\b(.*)-->")
_FENCE = re.compile(r"^(\s*)(`{3,}|~{3,})\s*(\w*)(.*)$")
_ASSIGNMENT = re.compile(r"^[A-Za-z_]\w*=")
_OURS = ("salver", "salver-solve", "run_all.sh", "run_tests.sh", "setup.sh", "perf.sh", "python")
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


@dataclass(frozen=True)
class Block:
    """A fenced or indented block: where it is, its language (empty when indented), and its lines."""

    file: Path
    line: int
    language: str
    title: str
    mark: str
    lines: tuple[str, ...]

    @property
    def where(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}"

    @property
    def file_name(self) -> str:
        """Name of the file whose content this is; empty where it is none's."""
        found = re.search(r'title="([^"]+)"', self.title)
        return found[1] if found else ""

    @property
    def commands(self) -> tuple[str, ...]:
        """Every line of a shell block, and the lines of another one that begin with a command of ours."""
        joined = re.sub(r"\\\n\s*", "", "\n".join(self.lines)).splitlines()
        plain = [line.strip().removeprefix("$ ") for line in joined]
        if self.language in SHELLS:
            return tuple(line for line in plain if line and not line.startswith("#"))
        unnamed = not self.language
        return tuple(line for line in plain if unnamed and is_ours(line))


def documents() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]


def blocks(file: Path) -> list[Block]:
    """Every block of a Markdown file, in order."""
    found: list[Block] = []
    lines = file.read_text().splitlines()
    position, mark = 0, ""
    while position < len(lines):
        start, line = position, lines[position]
        if comment := _COMMENT.search(line):
            mark = comment[1] + comment[2].rstrip()
        elif fence := _FENCE.match(line):
            position = _end_of_fence(lines, position, fence[2])
            body = [text.removeprefix(fence[1]) for text in lines[start + 1 : position]]
            found.append(Block(file, start + 1, fence[3] or "text", fence[4].strip(), mark, tuple(body)))
            mark = ""
        elif line.startswith("    ") and start > 0 and not lines[start - 1].strip():
            while position + 1 < len(lines) and _indented(lines[position + 1]):
                position += 1
            body = [text.removeprefix("    ") for text in lines[start : position + 1]]
            found.append(Block(file, start + 1, "", "", mark, tuple(body)))
            mark = ""
        elif line.strip():
            mark = ""
        position += 1
    return found


def _end_of_fence(lines: list[str], start: int, fence: str) -> int:
    closing = (n for n in range(start + 1, len(lines)) if lines[n].strip() == fence)
    return next(closing, len(lines))


@cache
def titles() -> frozenset[str]:
    """Names of the files whose contents a block shows."""
    return frozenset(block.file_name for file in documents() for block in blocks(file) if block.file_name)


def _indented(line: str) -> bool:
    return line.startswith("    ") or not line.strip()


def spans(file: Path) -> Iterator[tuple[int, str]]:
    """Line number and text of every code span outside blocks."""
    text = file.read_text()
    inside = {n for b in blocks(file) for n in range(b.line, b.line + len(b.lines) + 2 * bool(b.language))}
    for number, line in enumerate(text.splitlines(), 1):
        if number not in inside:
            yield from ((number, span[1]) for span in _SPAN.finditer(line))


def words(line: str) -> list[str]:
    """The words of a command line, without variables before it and what follows a pipe, `;`, `>` or `#`."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&<>()")
    lexer.wordchars += "{}[]*?=,:+@%!^"
    lexer.commenters = "#"
    found: list[str] = []
    for word in lexer:
        if word and set(word) <= set("|;&<>()"):
            break
        found.append(word)
    while found and _ASSIGNMENT.match(found[0]):
        del found[0]
    return found


def is_ours(line: str) -> bool:
    """Whether a line begins with a command of this project."""
    try:
        found = words(line)
    except ValueError:
        return False
    return bool(found) and Path(found[0]).name in _OURS and (len(found) > 1 or "/" in found[0])


def complaint(line: str, complete: bool = True) -> str | None:
    """What is wrong with a command line of ours, or None.

    Args:
        complete: False for a code span, which may leave out what is required.
    """
    name, *rest = words(line)
    name = Path(name).name
    if name == "salver":
        return _salver_complaint(rest, complete)
    if name == "run_all.sh":
        return _salver_complaint(["all", *rest], complete)
    if name == "salver-solve":
        return _solve_complaint(rest, complete)
    if name == "python":
        return _module_complaint(rest)
    return None if list(ROOT.glob(name)) or list((ROOT / "scripts").glob(name)) else f"there is no {name}"


def all_options() -> set[str]:
    """Every long option of `salver`, `salver-solve` and the scripts."""
    found = set(options_of(build_parser())) | {"--update"}
    for _, command in leaves():
        found |= {o for p in command.params for o in (*p.opts, *p.secondary_opts) if o.startswith("--")}
    found |= {o for p in app.params for o in p.opts if o.startswith("--")}
    for path in (path for part in ("tests", "experiments", "src") for path in (ROOT / part).glob("**/*.py")):
        found |= set(re.findall(r'add_argument\(\s*"(--[\w-]+)"', path.read_text()))
    return found


def leaves(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command of `salver` that is no group, with the words that call it."""
    chosen = app if command is None else command
    children = getattr(chosen, "commands", None)
    if children is None:
        yield path, chosen
        return
    for name, child in children.items():
        yield from leaves(child, (*path, name))


def _salver_complaint(arguments: list[str], complete: bool) -> str | None:
    command: Any = app
    path = "salver"
    while hasattr(command, "commands"):
        if not arguments:
            return None if not complete or path != "salver" else "no command"
        if arguments[0].startswith("-"):
            known = {o for p in command.params for o in p.opts} | {"--help", "-h"}
            return None if arguments[0] in known else f"{path} has no option {arguments[0]}"
        if arguments[0] not in command.commands:
            return f"{path} has no command {arguments[0]!r}"
        path, command, arguments = f"{path} {arguments[0]}", command.commands[arguments[0]], arguments[1:]
    if {"--help", "-h"} & set(arguments):
        arguments, complete = [a for a in arguments if a not in ("--help", "-h")], False
    try:
        command.make_context(path, arguments, resilient_parsing=not complete)
    except typer.TyperException as error:
        return f"{path}: {error.format_message()}"
    return None


def _solve_complaint(arguments: list[str], complete: bool) -> str | None:
    if not arguments:
        return None
    checking = arguments[0] == CHECK_PROOF
    if not checking and not arguments[0].startswith("-"):
        if arguments[0] not in SOLVERS and arguments[0] not in ("NAME", "SOLVER"):
            return f"there is no solver {arguments[0]!r}"
        if len(arguments) == 1 and not complete:
            return None
    parser = proof_parser() if checking else build_parser()
    rest = arguments[1:] if checking or not arguments[0].startswith("-") else arguments
    if checking and not complete and not rest:
        return None
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            parser.parse_args(rest)
    except SystemExit as ended:
        return said.getvalue() if ended.code else None
    return None


def _module_complaint(arguments: list[str]) -> str | None:
    if arguments[:1] != ["-m"]:
        known = arguments and ((ROOT / arguments[0]).is_file() or arguments[0] in titles())
        return None if known else f"no script {arguments[:1]}"
    module, rest = arguments[1], arguments[2:]
    if not module.startswith(("experiments.", "tests.", "salver.")):
        return None
    base = ROOT / "src" if module.startswith("salver.") else ROOT
    path = base / Path(*module.split(".")).with_suffix(".py")
    if not path.is_file():
        return f"there is no module {module}"
    source = path.read_text() + "".join(shared.read_text() for shared in _imported(path.read_text()))
    unknown = [o for o in rest if o.startswith("--") and f'"{o.partition("=")[0]}"' not in source]
    return f"{module} has no option {unknown[0]}" if unknown else None


def _imported(source: str) -> list[Path]:
    """The modules of `experiments/` that a module imports: some options are declared there."""
    names = re.findall(r"^from (experiments\.[\w.]+) import", source, re.MULTILINE)
    paths = [(ROOT / Path(*name.split("."))).with_suffix(".py") for name in names]
    return [path for path in paths if path.is_file()]
