"""Files that the parameters of a suite name: found without what reads them, which is slow to import."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from salver.core.files import missing_file

_ENDINGS = (".onnx", ".onnx.gz", ".h5", ".hdf5", ".keras", ".npz", ".npy", ".csv", ".json", ".vnnlib", ".txt")
"""Endings by which a parameter is known as the path of a file."""


def names_a_file(text: str) -> bool:
    """Whether a parameter's text is the path of a file, there or not."""
    return "/" in text or text.lower().endswith((*_ENDINGS, *(f"{ending}.gz" for ending in _ENDINGS)))


_NAMES = ("class_names", "feature_names", "label", "layer", "output")
"""Entries whose texts are names, whatever they look like."""


def files_named(value: Any) -> Iterator[Path]:
    """The paths of files in a tree of parameters, in order."""
    if isinstance(value, Path) or (isinstance(value, str) and names_a_file(value)):
        yield Path(value)
    elif isinstance(value, Mapping):
        for key, part in value.items():
            if key not in _NAMES:
                yield from files_named(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from files_named(part)


def relative_to(folder: Path, value: Any) -> Any:
    """The same tree of parameters with its paths of files taken as relative to `folder`."""
    if isinstance(value, str) and names_a_file(value):
        return f"{folder / value}/" if value.endswith("/") else str(folder / value)
    if isinstance(value, Mapping):
        return {key: part if key in _NAMES else relative_to(folder, part) for key, part in value.items()}
    return [relative_to(folder, part) for part in value] if isinstance(value, list | tuple) else value


def refuse_missing_files(folder: Path, value: Any) -> None:
    """Refuses parameters that name a file that is not there; paths are relative to `folder`.

    Raises:
        SalverError: naming the first such file, and the one that is probably meant.
    """
    for file in files_named(relative_to(folder, value)):
        if not file.exists():
            raise missing_file(str(file), "check the path: it is relative to the suite's file")
