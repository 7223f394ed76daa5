"""Command lines that complain in one line, and name the option or word that was probably meant.

Only the standard library is imported: for `salver-solve` the time it takes counts as solving.
"""

from __future__ import annotations

import argparse
import difflib
import signal
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from salver.core.errors import SalverError, suggestion

INTERRUPTED = 128 + signal.SIGINT
"""Exit status of what was interrupted."""


class OneLineParser(argparse.ArgumentParser):
    """Complains in one line, and names the option or word that was probably meant."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        # An abbreviation that works today is ambiguous after the next option.
        named |= {"allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter}
        super().__init__(*arguments, **named)

    def error(self, message: str) -> NoReturn:
        """Ends the process with status 2."""
        self.exit(2, f"salver-solve: {message.removeprefix('argument ')}; see `{self.prog} --help`\n")

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parses a whole command line; an option that is not known ends the process with status 2."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            near = nearest(unknown[0].partition("=")[0], options_of(self))
            self.error("; ".join(filter(None, (f"no such option or argument: {unknown[0]}", near))))
        return parsed

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            told = f"no such {action.dest}: {value}; {suggestion(str(value), known)}"
            raise argparse.ArgumentError(None, told)


def tell_interruption(arguments: Sequence[str]) -> int:
    """One line on stderr about a command that Ctrl-C ended, and what to do to have it after all.

    Files and folders are written beside their places and moved there once they are whole.

    Returns:
        The exit status.
    """
    again = "go on with --resume" if arguments[:1] in (["run"], ["all"]) else "give the command again"
    print(f"salver: interrupted; what was stored before is kept: {again}", file=sys.stderr)
    return INTERRUPTED


def nearest(word: str, known: Iterable[str]) -> str:
    """`did you mean ...?`, or nothing where no known word is near."""
    found = difflib.get_close_matches(word, list(known), 1)
    return f"did you mean {found[0]}?" if found else ""


def actions_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The sub-commands of a parser by name."""
    # argparse has no public way to ask a parser for what it knows.
    groups = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    return {name: sub for group in groups for name, sub in group.choices.items()}


def options_of(parser: argparse.ArgumentParser) -> list[str]:
    """Every long option of a parser and its sub-commands."""
    parsers = [parser, *actions_of(parser).values()]
    return sorted({o for p in parsers for o in p._option_string_actions if o.startswith("--")})


def refuse_empty(arguments: Sequence[str]) -> None:
    """Refuses an empty value, such as that of a shell variable that is not set.

    Raises:
        SalverError: an argument is empty or blank, alone or after an option's `=`.
    """
    for number, word in enumerate(arguments):
        option, equals, value = word.partition("=")
        if word.startswith("--") and equals and not value.strip():
            raise SalverError("its value is empty", option, "give one, or leave the option out")
        if not word.strip():
            before = arguments[number - 1] if number else ""
            where = before if before.startswith("-") else "command line"
            what = "its value is empty" if before.startswith("-") else f"argument {number + 1} is empty"
            raise SalverError(what, where, "give a value; is a variable of the shell not set?")
