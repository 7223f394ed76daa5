"""Options that several commands take, and records of them as parameters of a command."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

from salver.cli import completing
from salver.core.errors import SalverError

if TYPE_CHECKING:
    from salver.families.selection import Selection

R = TypeVar("R")
CORES = len(os.sched_getaffinity(0))
INSTANCES, LIMITS, PLACE = "Which instances", "Limits and measuring", "Where it runs"
"""Headings of `--help` for these options."""

SuiteOrSet = Annotated[
    str,
    typer.Argument(
        help="key of a suite, a .toml file, or an instance set: its folder, .tar.gz or instances.csv",
        autocompletion=completing.suites,
    ),
]
SuiteKey = Annotated[
    str,
    typer.Argument(help="key of a suite in benchmarks/, or a .toml file", autocompletion=completing.suites),
]
Workers = Annotated[int, typer.Option("--workers", "-j", help="jobs side by side", rich_help_panel=PLACE)]
RunName = Annotated[
    str, typer.Argument(help="a run's folder or name, or `latest`", autocompletion=completing.runs)
]
RunNames = Annotated[
    list[str] | None,
    typer.Argument(
        help="a run's folder or name, or `latest`; several runs of one set are reported together",
        autocompletion=completing.runs,
    ),
]
Solvers = Annotated[
    str | None,
    typer.Option(
        "--solvers", help="comma-separated; default: all available", autocompletion=completing.solvers
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option("--timeout", help="wall seconds a run (default: suite's)", rich_help_panel=LIMITS),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="cpu or cuda (default: cpu)",
        autocompletion=completing.one_of("cpu", "cuda"),
        rich_help_panel=PLACE,
    ),
]
Cores = Annotated[
    int | None,
    typer.Option("--cores", help="cores a run (default: as the solver asks)", rich_help_panel=LIMITS),
]
Repetitions = Annotated[
    int | None,
    typer.Option("--repetitions", min=1, help="runs of every job (default: 1)", rich_help_panel=LIMITS),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="go on with the suite's latest run, as it was planned")
]
NewName = Annotated[str | None, typer.Option("--name", help="what the run is called, for `report NAME`")]
Proofs = Annotated[bool, typer.Option("--proofs", help="ask for a proof of every unsat, and check it")]
Pin = Annotated[bool, typer.Option("--pin", help="a physical core for every worker", rich_help_panel=LIMITS)]
WarmUp = Annotated[
    bool, typer.Option("--warm-up", help="first one unrecorded run of every solver", rich_help_panel=LIMITS)
]
Backend = Annotated[
    str | None,
    typer.Option(
        "--backend",
        help="limits and measures: salver (default) or runexec",
        autocompletion=completing.one_of("salver", "runexec"),
        rich_help_panel=LIMITS,
    ),
]
EngineName = Annotated[
    str,
    typer.Option(
        "--engine",
        help="local, dask or slurm",
        autocompletion=completing.one_of("local", "dask", "slurm"),
        rich_help_panel=PLACE,
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option("--scheduler", help="Dask scheduler to join: tcp://host:port", rich_help_panel=PLACE),
]
Pools = Annotated[
    Path | None, typer.Option("--pools", help="TOML file about pools of Slurm pilots", rich_help_panel=PLACE)
]
Profile = Annotated[
    str,
    typer.Option("--profile", help="scoring: vnncomp2026, par2 or count", autocompletion=completing.profiles),
]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", exists=True, file_okay=False, help="your data folder (default: SALVER_DATA)"),
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
Only = Annotated[
    str | None,
    typer.Option("--only", help="instances by name, such as 'digits-*e0.1*'", rich_help_panel=INSTANCES),
]
OfFamily = Annotated[
    str | None,
    typer.Option(
        "--family",
        help="instances of a family",
        autocompletion=completing.families,
        rich_help_panel=INSTANCES,
    ),
]
OfNetwork = Annotated[
    str | None,
    typer.Option("--network", help="instances about a network, by its name", rich_help_panel=INSTANCES),
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="the first N of them", rich_help_panel=INSTANCES)
]
OfShard = Annotated[
    str | None, typer.Option("--shard", help="part I of N, such as 2/4", rich_help_panel=INSTANCES)
]


@dataclass(frozen=True, kw_only=True)
class SelectionArguments:
    """Which instances are meant; all where none of it is given. Lists have commas."""

    only: Only = None
    family: OfFamily = None
    network: OfNetwork = None
    limit: Limit = None
    shard: OfShard = None

    def selection(self) -> Selection:
        """The same as the stages take it.

        Raises:
            SalverError: an empty list, or no shard.
        """
        from salver.families.selection import Selection, read_shard

        return Selection(
            only=listed(self.only, "--only") or (),
            family=listed(self.family, "--family") or (),
            network=listed(self.network, "--network") or (),
            limit=self.limit,
            shard=None if self.shard is None else read_shard(self.shard),
        )


def with_options(command: Callable[..., R]) -> Callable[..., R]:
    """A command whose first parameter, a dataclass, is given on the command line field by field.

    Typer reads a command's options from its signature; the returned one has a parameter for every field of
    the dataclass, with the field's annotation and default, and then the command's other parameters.
    """
    first, *others = inspect.signature(command, eval_str=True).parameters.values()
    kind = first.annotation
    hints = get_type_hints(kind, include_extras=True)
    # Python wants what has no default first, and a reader what is the command's own.
    inherited = {name for base in kind.__mro__[1:] for name in getattr(base, "__annotations__", ())}
    in_order = sorted(fields(kind), key=lambda one: (one.default is not MISSING, one.name in inherited))
    own = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in in_order
    ]

    def called(**given: Any) -> R:
        options = kind(**{parameter.name: given.pop(parameter.name) for parameter in own})
        return command(options, **given)

    called.__name__, called.__doc__ = command.__name__, command.__doc__
    others = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in others]
    called.__signature__ = inspect.Signature([*own, *others])  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *others)}
    return called


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
