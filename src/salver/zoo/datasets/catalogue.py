"""The data sets by name: finding, loading and fetching them."""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
from pathlib import Path

from salver.core.errors import SalverError, suggestion
from salver.core.files import write_atomically
from salver.zoo.datasets import mnist, sources
from salver.zoo.datasets.places import cache_dir, search_folders
from salver.zoo.datasets.record import DECLARED, NOT_STATED, Dataset, Origin

for _module in pkgutil.iter_modules([str(Path(__file__).parent)]):
    importlib.import_module(f"{__package__}.{_module.name}")
NAMES = tuple(sorted(DECLARED, key=lambda name: bool(DECLARED[name].files)))
"""Those that need no files first."""


def load(name: str, data_dir: Path | None = None) -> Dataset:
    """Reads a data set into memory; nothing is downloaded.

    Args:
        name: one of `NAMES`.
        data_dir: the user's data folder, looked at before the cache; default `SALVER_DATA`.

    Raises:
        SalverError: the name is unknown, the files are nowhere to be found, or a file is not the pinned one.
    """
    check_name(name)
    declared = DECLARED[name]
    if not declared.files:
        return declared.read()
    folder, tried = find(name, data_dir)
    if folder is None:
        needless = ", ".join(other for other in NAMES if not DECLARED[other].files)
        raise SalverError(
            f"not on this machine (looked in {', '.join(tried)})",
            f"data set {name}",
            f"{how_to_get(name)}, or choose one of {needless}, which need no files",
        )
    return declared.read(folder)


def fetch(name: str, data_dir: Path | None = None) -> Path:
    """Makes sure that `load` finds a data set, downloading it into the cache if no folder holds it.

    Args:
        name: one of `NAMES`.
        data_dir: the user's data folder, looked at first.

    Returns:
        The folder that holds the files (for a built-in set the cache folder, in which nothing is needed).

    Raises:
        SalverError: the name is unknown, no source delivers, or a file is not the pinned one.
    """
    check_name(name)
    stored = DECLARED[name]
    if not stored.files:
        return cache_dir()
    folder, tried = find(name, data_dir)
    if folder is not None:
        stored.read(folder)
        return folder
    if not stored.sources:
        raise SalverError("cannot be fetched: it has no public source", f"data set {name}", how_to_get(name))
    for title, source in stored.sources.items():
        try:
            files = source(stored.files)
        except sources.SourceError as error:
            tried.append(f"{title}: {error}")
            continue
        for file_name, content in files.items():
            mnist.verify(content, stored.files[file_name], f"{file_name} from the {title}")
        target = cache_dir() / (stored.folder or name)
        for file_name, content in files.items():
            write_atomically(target / file_name, content)
        return target
    raise SalverError(
        f"cannot be fetched (tried {'; '.join(tried)})",
        f"data set {name}",
        f"connect to the network and run this again, or copy {', '.join(stored.files)} into "
        f"{cache_dir() / (stored.folder or name)}, or name a folder that holds them with --data-dir "
        "or SALVER_DATA",
    )


def how_to_get(name: str) -> str:
    """What to do where a stored set is not on this machine: fetch it, or place its files.

    Their hashes are pinned, so a file that is not the right one is refused when it is read.
    """
    stored = DECLARED[name]
    places = "a folder named by --data-dir or SALVER_DATA"
    if stored.sources:
        return f"run `salver data fetch {name}`, or put {', '.join(stored.files)} into {places}"
    wanted = ", ".join(f"{file} (SHA-256 {sha256[:16]}...)" for file, sha256 in stored.files.items())
    folder = cache_dir() / (stored.folder or name)
    return f"no public source has it; put {wanted} into {places}, or into {folder}"


def fingerprint(name: str, data_dir: Path | None = None) -> str:
    """Hash of a data set's contents; for a stored set it follows from the pinned hashes without reading it.

    Raises:
        SalverError: the name is unknown.
    """
    check_name(name)
    stored = DECLARED[name]
    if stored.files:
        return hashlib.sha256("".join((*stored.files.values(), stored.rendering)).encode()).hexdigest()
    return load(name, data_dir).sha256


def find(name: str, data_dir: Path | None) -> tuple[Path | None, list[str]]:
    """The first folder that holds every raw file of a stored set, and the folders looked at."""
    stored = DECLARED[name]
    wanted = stored.files
    folders = search_folders(stored.folder or name, data_dir, stored.named_only)
    for folder in folders:
        if all(mnist.stored_as(folder, file_name) for file_name in wanted):
            return folder, []
    return None, [str(folder) for folder in folders]


def check_name(name: str) -> None:
    """Refuses an unknown name.

    Raises:
        SalverError: the name is not in `NAMES`; the nearest known one is suggested.
    """
    if name not in NAMES:
        raise SalverError(f"no data set is called {name!r}", "", suggestion(name, NAMES))


def origin_of(name: str) -> Origin:
    """The source of a data set by the name an instance's facts give it; one of your own has no stated one."""
    if name == "mnist_fc":
        return mnist.BOXES_ORIGIN
    return DECLARED[name].origin if name in DECLARED else Origin(name, NOT_STATED)
