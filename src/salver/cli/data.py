"""`salver data list` and `salver data fetch`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from salver.cli.completing import data_sets
from salver.cli.help_text import Commands
from salver.cli.json_output import print_json
from salver.cli.options import AsJson, DataDir

MOST_SHOWN = 12
data_app = Commands(help="Data sets: list and fetch them.", no_args_is_help=True)


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


@data_app.command("show")
def data_show(
    name: Annotated[str, typer.Argument(help="data set, or path of your own data", metavar="name or path")],
    label: Annotated[str | None, typer.Option("--label", help="column of the classes (.csv)")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show what is read of data: points, classes and ranges.

    Example: salver data show wine.csv --label quality
    """
    import numpy as np

    from salver.zoo.datasets import DataOptions, open_dataset

    found = open_dataset(name, DataOptions() if label is None else DataOptions(label=label), data_dir)
    if as_json:
        print_json(
            {
                "data": found.name, "points": len(found.test_x), "train": len(found.train_x),
                "shape": found.input_shape, "classes": found.counts, "features": found.features,
                "range": found.clip,
            }
        )  # fmt: skip
        return
    ranges = [f"{low:.6g} to {high:.6g}" for low, high in np.asarray(found.clip or ()).reshape(-1, 2)]
    lines = {
        "points": f"{len(found.test_x)}, and {len(found.train_x)} of the train part",
        "shape": " x ".join(map(str, found.input_shape)),
        "classes": _some([f"{name} ({count})" for name, count in found.counts.items()]),
        "features": _some(found.features) or "without names",
        "range": _some(ranges) or "none: boxes are not cut",
    }
    print(found.name)
    for key, value in lines.items():
        print(f"  {key:9} {value}")


def _some(values: Sequence[str]) -> str:
    """Values for people; of many the first ones."""
    more = f" and {len(values) - MOST_SHOWN} more" if len(values) > MOST_SHOWN else ""
    return ", ".join(values[:MOST_SHOWN]) + more


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
