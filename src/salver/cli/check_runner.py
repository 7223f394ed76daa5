"""`salver test-runner`."""

from __future__ import annotations

import itertools
from typing import Annotated

import typer

from salver.cli import completing
from salver.core.errors import counted

DEFAULT_COUNT = 12


def check_runner(
    name: Annotated[str, typer.Argument(help="name of the solver", autocompletion=completing.solver)],
    suite: Annotated[
        str, typer.Option("--suite", help="where the answers are known", autocompletion=completing.suites)
    ] = "bandit",
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="wall seconds a run")] = 10.0,
    count: Annotated[int, typer.Option("--count", min=1, help="queries of the suite")] = DEFAULT_COUNT,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda")] = "cpu",
    operators: Annotated[bool, typer.Option("--operators", help="try operators and batches too")] = False,
) -> None:
    """Check a runner, and say in plain words what is wrong with it.

    Its declarations, each outcome, limits, formats, and answers against the truth. One line a check.
    Exit status 1 when one fails.

    Example: salver test-runner mytool
    """
    from salver.core.plugins import choose
    from salver.core.project import project_root
    from salver.families.generate import generate, up_to_date
    from salver.families.instance_set import set_folder
    from salver.families.suite import read_complete_suite
    from salver.runners.registry import runners
    from salver.testkit.batches import probe_batches
    from salver.testkit.check import Check
    from salver.testkit.declarations import check_declarations
    from salver.testkit.probe import probe_operators
    from salver.testkit.trial import check_tool

    runner = choose(name, runners(), "solver")(device)
    failed = 0

    def told(check: Check) -> None:
        nonlocal failed
        failed += check.status == "FAIL"
        print(check, flush=True)

    for check in check_declarations(runner):
        told(check)
    reason = runner.unavailable()
    told(Check("available here", "FAIL" if reason else "ok", reason or "yes"))
    if reason:
        told(Check("answers", "skip", "needs the tool"))
    else:
        chosen, root = read_complete_suite(suite), project_root()
        manifest = up_to_date(chosen, root) or generate(chosen, root)[1]
        for check in check_tool(runner, manifest.instances, set_folder(root, chosen), timeout, count):
            told(check)
        if operators:
            for check in itertools.chain(probe_operators(runner, timeout), probe_batches(runner, timeout)):
                told(check)
    print(f"{name}: " + (f"{counted(failed, 'check')} failed" if failed else "keeps the contract"))
    if failed:
        raise typer.Exit(1)
