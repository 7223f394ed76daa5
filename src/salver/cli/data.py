"""`salver data list` and `salver data fetch`."""

from __future__ import annotations

from typing import Annotated

import typer

from salver.cli.completing import data_sets
from salver.cli.json_output import print_json
from salver.cli.options import AsJson, DataDir

data_app = typer.Typer(help="Data sets: list and fetch them.", no_args_is_help=True)


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
