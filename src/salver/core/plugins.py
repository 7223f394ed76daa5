"""Finds plug-ins: drop-in files of the project, then third-party entry points.

A file that does not load stops nothing but what needs it: it is left out, and told of in one line on stderr.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from salver.core.errors import SalverError, suggestion

WARNED: set[str] = set()
Names = Callable[[], frozenset[str]]
"""What a plug-in may have been called; asked only of one that does not load, since it reads its text."""


@dataclass(frozen=True)
class Broken:
    """A plug-in that does not load.

    Attributes:
        where: its file or entry point.
        names: what it may have been called: its file's stem, and every name that its text gives.
        error: what is wrong, as one line.
    """

    where: str
    names: frozenset[str]
    error: SalverError


class FoundPlugins(dict[str, Any]):
    """Plug-ins by name, and beside them those that do not load."""

    def __init__(self) -> None:
        super().__init__()
        self.broken: list[Broken] = []
        self.doubled: set[str] = set()

    def reason_against(self, name: str) -> SalverError | None:
        """Why no plug-in of this name is here, where it is one that does not load."""
        return next((one.error for one in self.broken if name in one.names), None)


def find_plugins(
    base: type[Any],
    folders: Sequence[Path],
    group: str,
    *,
    warn: bool,
    described: Callable[[Path], type[Any]] | None = None,
) -> FoundPlugins:
    """Every plug-in of one kind by name.

    Args:
        base: the class that a plug-in extends.
        folders: where drop-in files lie; what an earlier one has hides the same name in a later one.
        group: the entry points of installed packages.
        warn: whether what does not load is told of on stderr.
        described: reads a plug-in out of a TOML file, where the kind has such files.
    """
    own, *others = folders
    found = FoundPlugins()
    _collect_files(found, base, own, described)
    for point in installed_in(group):
        names: Names = partial(frozenset, (point.name, point.value))
        _try(found, f"entry point {point.value}", names, partial(_installed, point, base))
    for folder in others:
        shipped = FoundPlugins()
        _collect_files(shipped, base, folder, described)
        found.update({name: plugin for name, plugin in shipped.items() if name not in found})
        found.broken += shipped.broken
    return _with_warnings(found) if warn else found


@cache
def installed_in(group: str) -> tuple[EntryPoint, ...]:
    """Entry points of a group; read once, since that opens a file of every installed package."""
    return tuple(entry_points(group=group))


def choose(name: str, known: Mapping[str, Any], kind: str) -> Any:
    """The entry `name`, or an error with the nearest spelling.

    Raises:
        SalverError: there is none of that name, or its plug-in does not load.
    """
    if name in known:
        return known[name]
    if isinstance(known, FoundPlugins) and (error := known.reason_against(name)):
        raise error
    raise SalverError(f"no {kind} of that name", name or "''", suggestion(name, sorted(known)))


def _with_warnings(found: FoundPlugins) -> FoundPlugins:
    for one in found.broken:
        line = f"salver: warning: {one.error}; the rest goes on without it"
        if line not in WARNED:
            WARNED.add(line)
            print(line, file=sys.stderr, flush=True)
    return found


def _collect_files(
    found: FoundPlugins, base: type[Any], folder: Path, described: Callable[[Path], type[Any]] | None
) -> None:
    for path in sorted(folder.glob("*.py")):
        _try(found, str(path), partial(_names_in, path), partial(_declared, path, base))
    for path in sorted(folder.glob("*.toml")) if described is not None else ():
        assert described is not None
        _try(found, str(path), partial(_names_in, path), partial(_described, path, described))


def _try(
    found: FoundPlugins,
    where: str,
    names: Names,
    load: Callable[[], Iterable[type[Any]]],
) -> None:
    """Adds what a plug-in declares, or notes why it declares nothing and what it may have been called."""
    try:
        for plugin in list(load()):
            _add(found, plugin, where)
    except SalverError as error:
        found.broken.append(Broken(where, names(), error))
    except (Exception, SystemExit) as error:  # a plug-in's code may raise anything, or leave
        wrong = SalverError(f"does not load ({one_line(error)})", where, "correct or remove it")
        found.broken.append(Broken(where, names(), wrong))


def _add(found: FoundPlugins, plugin: type[Any], where: str) -> None:
    name = getattr(plugin, "name", None)
    if not isinstance(name, str) or not name:
        raise SalverError(f"{plugin.__name__} has no name", where, 'add a line `name = "..."`')
    if name not in found.doubled and found.setdefault(name, plugin) is plugin:
        return
    # Which of the two was meant is not known, so neither is used.
    found.pop(name, None)
    found.doubled.add(name)
    error = SalverError(f"a second plug-in is named {name!r}", where, "give one of them another name")
    found.broken.append(Broken(where, frozenset((name,)), error))


def _names_in(path: Path) -> frozenset[str]:
    """Names that a file may declare, as far as its text shows them without being run."""
    try:
        text = _regular(path).read_text(errors="replace")
    except (OSError, SalverError):
        text = ""
    stem = path.stem.lower()
    return frozenset((stem, stem.replace("_", "-"), *_NAMED.findall(text)))


_NAMED = re.compile(r"""^\s*name\s*(?::[^=\n]*)?=\s*["']([^"'\n]+)["']""", re.MULTILINE)


def _regular(path: Path) -> Path:
    """Refuses what cannot be read as a file, such as a pipe, on which reading would wait for ever."""
    if not path.is_file():
        raise SalverError("is no regular file", str(path), "correct or remove it")
    return path


def _load(path: Path) -> ModuleType:
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    name = f"salver_plugin_{path.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, _regular(path))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _described(path: Path, read: Callable[[Path], type[Any]]) -> list[type[Any]]:
    return [read(_regular(path))]


def _installed(point: EntryPoint, base: type[Any]) -> list[type[Any]]:
    return [_whole(point.load(), base)]


def _declared(path: Path, base: type[Any]) -> list[type[Any]]:
    module = _load(path)
    kinds: list[type[Any]] = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and value.__module__ == module.__name__ and issubclass(value, base)
    ]
    whole = [kind for kind in kinds if not inspect.isabstract(kind)]
    if hasattr(module, "discover"):
        whole += [_whole(kind, base) for kind in module.discover()]
        return whole
    if not whole and not path.name.startswith("_"):
        lacking = sorted(getattr(kinds[0], "__abstractmethods__", ())) if kinds else []
        what = f"{kinds[0].__name__} lacks {', '.join(lacking)}" if kinds else f"declares no {base.__name__}"
        raise SalverError(what, str(path), "correct or remove it")
    return whole


def _whole(value: Any, base: type[Any]) -> type[Any]:
    if inspect.isclass(value) and issubclass(value, base) and not inspect.isabstract(value):
        return value
    raise TypeError(f"{str(value)[:60]} is no whole {base.__name__}")


def one_line(error: BaseException) -> str:
    """An exception of somebody else's code in at most 200 characters."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
