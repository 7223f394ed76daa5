"""Finds generators and runners: drop-in files of the project, then third-party entry points.

A runner's file is Python, or TOML for a tool with a common interface (`salver.foreign.declared`).
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from salver.errors import SalverError
from salver.foreign.declared import declared_runner
from salver.generator import Generator
from salver.project import project_root
from salver.runner import Runner

Plugin = TypeVar("Plugin", Generator, Runner)


def generators() -> dict[str, type[Generator]]:
    """Every instance family by name.

    Raises:
        SalverError: a plug-in file does not load, or two declare one name.
    """
    return _found(Generator, project_root() / "generators", "salver.generators")  # type: ignore[type-abstract]


def runners() -> dict[str, type[Runner]]:
    """Every solver by name, available here or not; see `Runner.unavailable`.

    Raises:
        SalverError: a plug-in file does not load, or two declare one name.
    """
    folder = project_root() / "runners"
    found = _found(Runner, folder, "salver.runners")  # type: ignore[type-abstract]
    for path in sorted(folder.glob("*.toml")):
        _add(found, declared_runner(path), str(path))
    return found


def choose(name: str, known: Mapping[str, Any], kind: str) -> Any:
    """The entry `name`, or an error with the nearest spelling.

    Raises:
        SalverError: there is none of that name.
    """
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, 1)
    mend = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(sorted(known))}"
    raise SalverError(f"no {kind} of that name", name, mend)


def _found(base: type[Plugin], folder: Path, group: str) -> dict[str, type[Plugin]]:
    found: dict[str, type[Plugin]] = {}
    for path in sorted(folder.glob("*.py")):
        for plugin in _declared(_load(path), base):
            _add(found, plugin, str(path))
    for point in entry_points(group=group):
        try:
            plugin = point.load()
        except Exception as error:  # a third party's import may raise anything
            raise SalverError(
                f"does not load ({error})", f"entry point {point.value}", "reinstall it"
            ) from error
        _add(found, plugin, point.value)
    return found


def _add(found: dict[str, type[Plugin]], plugin: type[Plugin], where: str) -> None:
    if plugin.name in found and found[plugin.name] is not plugin:
        raise SalverError(f"a second plug-in is named {plugin.name!r}", where, "give it another name")
    found[plugin.name] = plugin


def _load(path: Path) -> ModuleType:
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    name = f"salver_plugin_{path.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a plug-in file may raise anything
        del sys.modules[name]
        what = f"does not load ({type(error).__name__}: {error})"
        raise SalverError(what, str(path), "mend or remove the file") from error
    return module


def _declared(module: ModuleType, base: type[Plugin]) -> Iterable[type[Plugin]]:
    for value in vars(module).values():
        own = inspect.isclass(value) and value.__module__ == module.__name__
        if own and issubclass(value, base) and not inspect.isabstract(value):
            yield value
    if hasattr(module, "discover"):
        yield from module.discover()
