"""`salver run`."""

from __future__ import annotations

from salver.cli.options import AsJson, with_options
from salver.cli.stages import RunArguments, run_stage


@with_options
def run(arguments: RunArguments, as_json: AsJson = False) -> None:
    """Put solvers on a suite or a set.

    The instance set of a suite is generated first where it is missing. A set is named by its place: a folder,
    an archive or a list of instances, published or in the layout of VNN-COMP.

    Example: salver run bandit --solvers falsify,milp -j 2 --resume
    """
    run_stage(arguments, as_json)
