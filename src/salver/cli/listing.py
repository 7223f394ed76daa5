"""Commands that list what there is: suites, families, data sets, and what works on this machine."""

from __future__ import annotations

import sys
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer

from salver import __version__
from salver.cli.completing import data_sets
from salver.cli.completing import families as family_names
from salver.cli.for_programs import AsJson, print_json
from salver.cli.values import DataDir
from salver.core.errors import SalverError

listing_app = typer.Typer()
data_app = typer.Typer(help="Data sets: list and fetch them.", no_args_is_help=True)
listing_app.add_typer(data_app, name="data")


@listing_app.command()
def suites(as_json: AsJson = False) -> None:
    """List the suites.

    Example: salver suites --json
    """
    from tabulate import tabulate

    from salver.families.suite import read_suite, suite_paths

    found = []
    for key in suite_paths():
        try:
            found.append(read_suite(key))
        except SalverError as error:
            print(f"salver: warning: {error}; the others are listed", file=sys.stderr)
    if as_json:
        fields = {"key", "title", "version", "seed", "timeout", "memory_mb"}
        print_json([suite.model_dump(mode="json", include=fields) for suite in found])
        return
    print(tabulate([(suite.key, suite.title) for suite in found], ["suite", "what it measures"], "plain"))


@listing_app.command()
def families(
    name: Annotated[
        str | None, typer.Argument(help="one family (default: all)", autocompletion=family_names)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the instance families with their options.

    Example: salver families topk_rank
    """
    from salver.core.plugins import choose
    from salver.families.registry import generators

    known = generators()
    chosen = known if name is None else {name: choose(name, known, "family")}
    if as_json:
        print_json([{"family": key, "title": k.title, "options": _options(k)} for key, k in chosen.items()])
        return
    for key, kind in chosen.items():
        print(f"{key}: {kind.title}")
        for option in _options(kind):
            print(f"  {option['name']:16} {option['description']} ({_values(option)})")


def _values(option: dict[str, Any]) -> str:
    """What an option may be, and what it is where a suite does not say."""
    default = "required" if option["required"] else f"default {_written(option['default'])}"
    return f"{', '.join(option['choices'])}; {default}" if option["choices"] else default


def _written(default: object) -> str:
    """A default as a suite would write it."""
    if default is None or isinstance(default, bool):
        return {None: "none", True: "true", False: "false"}[default]
    return str(list(default)) if isinstance(default, tuple) else str(default)


def _options(kind: Any) -> list[dict[str, Any]]:
    """The options of a family that a suite sets; the data folder is the command line's."""
    return [
        {
            "name": key,
            "description": option.description,
            "required": option.is_required(),
            "default": None if option.is_required() else option.default,
            "choices": _choices(option.annotation),
        }
        for key, option in kind.parameters.model_fields.items()
        if key != "data_dir"
    ]


def _choices(annotation: Any) -> list[str]:
    """The words that an option takes, such as the three of `condition`; none where it takes any value."""
    parts = get_args(annotation)
    if get_origin(annotation) is Literal:
        return [str(part) for part in parts]
    if get_origin(annotation) in (Union, UnionType):
        words = [word for part in parts for word in _choices(part)]
        return [*words, *(["a number"] if words and int in parts else [])]
    return []


@listing_app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what works on this machine, what does not, and why.

    Example: salver doctor
    """
    from salver.cli.examination import examine

    found = examine()
    if as_json:
        print_json([finding.model_dump(mode="json") for finding in found])
        return
    for finding in found:
        print(f"{'ok ' if finding.usable else ' - '} {finding.subject:22} {finding.detail}")


@data_app.command("list")
def data_list(as_json: AsJson = False) -> None:
    """List the data sets and where they were found.

    Example: salver data list
    """
    from salver.cli.examination import examine_data

    found = examine_data()
    if as_json:
        print_json([finding.model_dump(mode="json") for finding in found])
        return
    for finding in found:
        print(f"{'ok ' if finding.usable else ' - '} {finding.subject[5:]:12} {finding.detail}")


@data_app.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(help="data set, such as mnist", autocompletion=data_sets)],
    data_dir: DataDir = None,
) -> None:
    """Download a data set into the cache and check its hashes.

    Example: salver data fetch mnist
    """
    from salver.zoo.datasets import fetch

    print(f"{name}: {fetch(name, data_dir)}")


@listing_app.command()
def version() -> None:
    """Print the version.

    Example: salver version
    """
    print(__version__)


def print_version(asked: bool) -> None:
    """The option `--version`: prints it and ends the command."""
    if asked:
        print(__version__)
        raise typer.Exit()
