"""`salver suites`."""

from __future__ import annotations

import sys

from salver.cli.json_output import print_json
from salver.cli.options import AsJson
from salver.core.errors import SalverError


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
