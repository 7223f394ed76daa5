"""How a command ends: its exit status, and one line on stderr where something is wrong."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Sequence

import typer

from salver.errors import FoundError, SalverError

OK, FOUND, NOT_DONE = 0, 1, 2
"""Exit statuses; docs/cli.md says what each means."""


def call(app: typer.Typer, arguments: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit status; what goes wrong is one line on stderr.

    Args:
        arguments: without the program's name; None for this process's own.

    Raises:
        Exception: an unexpected one, where `SALVER_DEBUG=1` asks for its traceback.
    """
    try:
        status = app(arguments, prog_name="salver", standalone_mode=False)
        sys.stdout.flush()
    except SalverError as error:
        print(f"salver: {error}", file=sys.stderr)
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
    except Exception as error:
        if os.environ.get("SALVER_DEBUG") == "1":
            raise
        told = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        print(f"salver: unexpected {told}; SALVER_DEBUG=1 shows where", file=sys.stderr)
        return FOUND
    return status if isinstance(status, int) else OK


def _without_reader() -> int:
    """The reader has left, as `head` does; Python would complain once more when it flushes at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return OK


def usage_line(error: typer.TyperException) -> str:
    """What a command line gets wrong, with the nearest spelling; or the help where no command was given."""
    text = error.format_message()
    if text.startswith("Usage:"):
        return text
    known = getattr(error, "possibilities", None)
    if known is not None:
        asked = str(getattr(error, "option_name", ""))
        near = difflib.get_close_matches(asked, known, 1) or sorted(known)[:1]
        text = f"No such option: {asked}. Did you mean {near[0]!r}?"
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "salver"
    return f"salver: {' '.join(text.split())} See `{command} --help`."
