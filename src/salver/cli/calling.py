"""How a command ends: its exit status, and one line on stderr where something is wrong."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer

from salver.core.command_line import INTERRUPTED, nearest, refuse_empty, tell_interruption
from salver.core.errors import FoundError, SalverError, StoppedError, file_error

OK, FOUND, NOT_DONE = 0, 1, 2
"""Exit statuses; docs/cli.md says what each means."""


def call(app: Callable[..., Any], arguments: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit status; what goes wrong is one line on stderr.

    Args:
        app: the commands as typer has them.
        arguments: without the program's name; None for this process's own.

    Raises:
        Exception: an unexpected one, where `SALVER_DEBUG=1` asks for its traceback.
    """
    try:
        given = list(sys.argv[1:] if arguments is None else arguments)
        refuse_empty(given)
        _refuse_unknown_shell(given)
        status = app(arguments, prog_name="salver", standalone_mode=False)
        sys.stdout.flush()
    except SalverError as error:
        print(f"salver: {error}", file=sys.stderr)
        if isinstance(error, StoppedError):
            return INTERRUPTED
        return FOUND if isinstance(error, FoundError) else NOT_DONE
    except typer.TyperException as error:
        print(usage_line(error), file=sys.stderr)
        return NOT_DONE
    except typer.Abort:
        print("salver: aborted", file=sys.stderr)
        return NOT_DONE
    except BrokenPipeError:
        return _without_reader()
    except SystemExit as leaving:
        # Typer leaves like this when it meets the broken pipe first.
        if isinstance(leaving.__context__, BrokenPipeError):
            return _without_reader()
        raise
    except OSError as error:
        if error.filename is None and not _is_somewhere():
            print("salver: the working folder was removed; change to another one", file=sys.stderr)
            return NOT_DONE
        # A person's disk: full, read-only, not hers. What has no file is a fault of ours.
        if error.filename is None or os.environ.get("SALVER_DEBUG") == "1":
            return _unexpected(error)
        print(f"salver: {file_error(error, error.filename, 'used')}", file=sys.stderr)
        return NOT_DONE
    except Exception as error:
        # A library that is being imported makes an ImportError of it.
        if isinstance(error.__cause__ or error.__context__, KeyboardInterrupt):
            return tell_interruption(given)
        return _unexpected(error)
    if status == INTERRUPTED:
        # Typer makes an exit of it.
        return tell_interruption(given)
    return status if isinstance(status, int) else OK


def _refuse_unknown_shell(arguments: Sequence[str]) -> None:
    """Refuses to complete for a shell that typer does not know, which it says in words of its own.

    Raises:
        SalverError: with the shells that it knows.
    """
    asked = next((one for one in arguments if one in ("--install-completion", "--show-completion")), None)
    if asked is None:
        return
    from shellingham import ShellDetectionFailure, detect_shell

    try:
        shell = detect_shell()[0]
    except ShellDetectionFailure:
        shell = ""
    if shell not in _SHELLS:
        what = f"{shell} has no completion" if shell else "it was not started from a shell"
        raise SalverError(what, asked, "start it from bash, zsh, fish or PowerShell")


def _is_somewhere() -> bool:
    """Whether the working folder is still there."""
    try:
        Path.cwd()
    except OSError:
        return False
    return True


def _unexpected(error: Exception) -> int:
    """One line about a fault of ours; its traceback where `SALVER_DEBUG=1` asks for it."""
    if os.environ.get("SALVER_DEBUG") == "1":
        raise error
    told = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    print(f"salver: unexpected {told}; SALVER_DEBUG=1 shows where", file=sys.stderr)
    return FOUND


def _without_reader() -> int:
    """The reader has left, as `head` does; Python would complain once more when it flushes at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return OK


def usage_line(error: typer.TyperException) -> str:
    """What a command line gets wrong, with the nearest spelling; or the help where no command was given."""
    text = error.format_message()
    if text.startswith("Usage:"):
        return text
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "salver"
    asked = getattr(error, "option_name", None)
    if asked is not None and context is not None and text.startswith("No such option"):
        return f"salver: no such option: {asked}; {_near_option(asked, context)}"
    if context is not None and (unknown := _COMMAND.match(text)):
        return f"salver: no such command: {unknown[1]}; {_near_command(unknown[1], context)}"
    if told := _wrong_value(error):
        return f"salver: {told}"
    text = " ".join(text.split()).rstrip(".")
    if valueless := _VALUELESS.match(text):
        what = (
            "its value is missing; write one"
            if valueless[2] == "an"
            else f"it takes {valueless[2]} values; write them"
        )
        return f"salver: {valueless[1]}: {what} after the option"
    if nowhere := _NOWHERE.match(text):
        return f"salver: {nowhere[1]}: {nowhere[2]} does not exist; make it first, or correct the path"
    if context is not None and (told := _wrong_count(text, context)):
        return f"salver: {told}"
    return f"salver: {text[:1].lower()}{text[1:]}; see `{command} --help`"


def _wrong_value(error: typer.TyperException) -> str:
    """What is wrong with an option's value, in the words that a suite's entries have too; else nothing."""
    # Typer has parsed the command line, so pydantic is there, which is slow to import otherwise.
    from pydantic import ValidationError

    from salver.core.records import violation

    cause, parameter = error.__cause__ or error.__context__, getattr(error, "param", None)
    if not isinstance(cause, ValidationError) or parameter is None:
        return ""
    what, hint = violation(cause)
    return f"{parameter.opts[0]}: {what}; {hint}"


def _wrong_count(text: str, context: typer.Context) -> str:
    """What is missing or too many on a command line, with how it is written; else nothing."""
    command = context.command_path
    places = " ".join(context.command.collect_usage_pieces(context)[1:])
    usage = f"{command} {places.translate(_NO_BRACES).upper()}".rstrip()
    if missing := _MISSING.match(text):
        name = missing[1] if missing[1].startswith("-") else missing[1].upper()
        usage += f" {name} ..." if name.startswith("-") else ""
        return f"{name} is missing; write `{usage}`, or see `{command} --help`"
    if surplus := _SURPLUS.match(text):
        return f"too many words: {surplus[1]}; write `{usage}`, or see `{command} --help`"
    return ""


def _near_command(asked: str, context: typer.Context) -> str:
    """A guess where a command is near, was left out or once had this name; else where they are listed."""
    # What a suite is made of is slow to import.
    from salver.families.suite import suite_paths

    known = _below(context.command)
    if meant := _OTHER_COMMANDS.get(asked):
        return f"did you mean `salver {meant}`?"
    if within := [f"`salver {name} {asked}`" for name in known if asked in _below(known[name])]:
        return f"did you mean {' or '.join(within)}?"
    if asked.endswith(".toml") or asked in suite_paths():
        return f"did you mean `salver all {asked}`?"
    return nearest(asked, known) or f"`{context.command_path} --help` lists them"


def _near_option(asked: str, context: typer.Context) -> str:
    """A guess where an option is near, or is another tool's word for the same; else where they are listed."""
    command = context.command
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    known = [name for option in options for name in (*option.opts, *option.secondary_opts)]
    meant = _OTHER_WORDS.get(asked)
    if meant in known:
        return f"did you mean {meant}?"
    words = [name.removeprefix("--") for name in known if name.startswith("--")]
    if any(asked in parameter.opts for one in _below(command).values() for parameter in one.params):
        return "write it after the command that it is for"
    near = difflib.get_close_matches(asked.removeprefix("--"), words, 1, 0.65)
    if near and asked.startswith("--"):
        return f"did you mean --{near[0]}?"
    return f"`{context.command_path} --help` lists them"


def _below(command: Any) -> dict[str, Any]:
    """The commands of a group by name."""
    return dict(getattr(command, "commands", {}))


_SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")
_COMMAND = re.compile(r"No such command '(.*?)'")
_MISSING = re.compile(r"Missing (?:argument|option|parameter) '(.*?)'")
_SURPLUS = re.compile(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)")
_NOWHERE = re.compile(r"Invalid value for '(.*?)': (?:dir|directory|file|path) '(.*)' does not exist")
_NO_BRACES = str.maketrans("", "", "{}")
_VALUELESS = re.compile(r"Option '(.*?)' requires (an|\d+) arguments?")
_OTHER_COMMANDS = {
    "rejudge": "report",
    "version": "--version",
    "help": "--help",
    "radius": "check NETWORK --radius",
    "verify": "check NETWORK",
    "explain": "unroll NETWORK",
    "download": "data fetch",
    "new-solver": "new-runner",
    "test": "test-runner",
    "resume": "run SUITE --resume",
}
"""What was once called otherwise, is an option here, or has this name elsewhere."""
_OTHER_WORDS = {
    "--jobs": "--workers",
    "--threads": "--cores",
    "--time": "--timeout",
    "--time-limit": "--timeout",
    "--solver": "--solvers",
    "--out": "--output",
    "--gpu": "--device",
    "--class": "--label",
    "--latex": "--format",
    "--filter": "--only",
    "--instance": "--only",
    "--instances": "--only",
}
"""Words that other tools have for the same, which are not near by spelling."""
