"""Packages that only some solvers and commands need: whether one is missing, and the command that brings it.

Which package belongs to which extra is read from salver's own metadata (`pyproject.toml`), so that no second
list can contradict it. Nothing is imported to find out.
"""

from __future__ import annotations

import importlib.util
import platform
import re
import shlex
from collections.abc import Iterable

from salver.core.errors import SalverError
from salver.core.project import CHECKOUT

_SETUP = "scripts/setup.sh"


def missing_packages(modules: Iterable[str]) -> list[str]:
    """One clause for each module that cannot be imported here, with the command that brings it.

    Args:
        modules: importable names, such as `auto_LiRPA`.

    Returns:
        Clauses such as "Python module maraboupy is not installed; run `...`"; none where all are there.
    """
    return [
        f"Python module {module} is not installed{_how_to_get(module)}"
        for module in modules
        if importlib.util.find_spec(module) is None
    ]


def require_packages(modules: Iterable[str], where: str) -> None:
    """Refuses to go on without a package.

    Args:
        where: what needs it, such as a solver's name.

    Raises:
        SalverError: a module cannot be imported here; its command is the way out.
    """
    for lacking in missing_packages(modules):
        what, _, command = lacking.partition("; ")
        raise SalverError(what, where, command)


def _how_to_get(module: str) -> str:
    # Here, since it brings the whole of `email`: solvers that are there pay nothing for those that are not.
    from importlib.metadata import requires

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    wanted, packages = canonicalize_name(module), [Requirement(text) for text in requires("salver") or ()]
    for extra in sorted({name for one in packages for name in _EXTRA.findall(str(one.marker))}):
        own = [one for one in packages if one.marker and extra in _EXTRA.findall(str(one.marker))]
        found = next((one for one in own if canonicalize_name(one.name) == wanted), None)
        if found is not None and not (found.marker and found.marker.evaluate({"extra": extra})):
            return f": it has no wheels for Python {platform.python_version()} ({found.marker})"
        if found is not None:
            # Without dependencies: auto-LiRPA's metadata ask for a torch of years ago.
            names = shlex.join(f"{one.name}{one.specifier}" for one in own)
            return f"; run `pip install --no-deps {names}`{f' or {_SETUP}' if _in_checkout() else ''}"
    return f"; run {_SETUP}" if _in_checkout() else f"; run `pip install {module}`"


def _in_checkout() -> bool:
    """Whether there is the script that installs everything; a wheel brings none."""
    return (CHECKOUT / _SETUP).is_file()


_EXTRA = re.compile(r'extra == "([^"]+)"')
