"""Folders in which data is looked for, in the order in which they are tried."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path

from salver.core.errors import SalverError
from salver.core.project import CHECKOUT

SYSTEM_FOLDERS = (Path("/usr/share/dataset-mnist"), Path("/usr/share/mnist"), Path("/usr/local/share/mnist"))
DEBIAN_DATASETS = Path("/usr/share/datasets")


def cache_dir() -> Path:
    """Folder for downloads and trained weights: `SALVER_CACHE`, else the user's cache folder."""
    own = os.environ.get("SALVER_CACHE", "")
    return Path(own).expanduser() if own else user_cache_path("salver")


def locate_user_data() -> Path | None:
    """The user's own data folder: `SALVER_DATA`, else `../shared/data` beside the project where that exists.

    Raises:
        SalverError: `SALVER_DATA` is set but is not a folder.
    """
    named = os.environ.get("SALVER_DATA", "")
    if named:
        folder = Path(named).expanduser()
        if not folder.is_dir():
            raise SalverError(
                f"{named} is not a folder", "SALVER_DATA", "point it at your data folder or unset it"
            )
        return folder
    beside = CHECKOUT.parent / "shared" / "data"
    return beside if beside.is_dir() else None


def search_folders(name: str, data_dir: Path | None, named_only: bool = False) -> tuple[Path, ...]:
    """Folders that may hold the raw files of set `name`: the user's, the cache, the system's.

    Args:
        name: key of the data set; a folder of this name inside each root is tried as well.
        data_dir: folder given on the command line; takes the place of `SALVER_DATA`.
        named_only: only folders that bear the set's name, since another set has files of the same names.

    Raises:
        SalverError: `data_dir` or `SALVER_DATA` is given but is not a folder.
    """
    if data_dir is not None and not data_dir.is_dir():
        raise SalverError(f"{data_dir} is not a folder", "--data-dir", "give an existing folder")
    own = data_dir if data_dir is not None else locate_user_data()
    named = (own / name, own / name.upper() / "raw") if own else ()
    if named_only:
        return (*named, cache_dir() / name, DEBIAN_DATASETS / name.replace("_", "-"))
    return (*((own,) if own else ()), *named, cache_dir() / name, *SYSTEM_FOLDERS)
