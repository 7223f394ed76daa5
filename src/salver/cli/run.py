"""`salver run`."""

from __future__ import annotations

from salver.cli.options import AsJson, with_options
from salver.cli.stages import RunArguments, run_stage


@with_options
def run(arguments: RunArguments, as_json: AsJson = False) -> None:
    """Put solvers on a suite. The instance set is generated first where it is missing.

    Example: salver run bandit --solvers falsify,milp -j 2 --resume
    """
    run_stage(arguments, as_json)
