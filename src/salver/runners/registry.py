"""The solvers there are: files in runners/ and installed packages.

A runner's file is Python, or TOML for a tool with a common interface (`salver.runners.foreign.declared`).
"""

from __future__ import annotations

from salver.core.plugins import FoundPlugins, find_plugins, one_line
from salver.core.project import folders_named
from salver.runners.contract import Runner
from salver.runners.foreign.declared import declared_runner


def runners(warn: bool = True) -> FoundPlugins:
    """Every solver by name, available here or not (see `Runner.unavailable`).

    What does not load is told of on stderr unless `warn` is false.
    """
    folders = folders_named("runners")
    return find_plugins(Runner, folders, "salver.runners", warn=warn, described=declared_runner)


def why_unavailable(runner: Runner) -> str | None:
    """`Runner.unavailable`, which a plug-in may get wrong; its exception is the reason then."""
    try:
        return runner.unavailable()
    except Exception as error:  # a plug-in's code may raise anything
        return f"unavailable() of its runner fails ({one_line(error)})"
