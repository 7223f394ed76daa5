"""The instance set that a run keeps: copies of its files in the run's folder, with their hashes.

A run is made from this copy and judged with it. So it can be judged after the suite has changed, and a set
that was changed on disk meanwhile changes no answer.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from salver.core.confined import UnfitFileError, read_inside, sha256_inside, unpack_inside
from salver.core.errors import SalverError
from salver.core.files import sync
from salver.families.instance import Instance, content_id
from salver.families.instance_set import MOST_BYTES, read_manifest
from salver.spec.read import MOST_BYTES as MOST_TEXT_BYTES

FOLDER = "set"
SUMS = "SHA256SUMS"
MOST_SUMS_BYTES = 64 << 20
_MANIFEST = "manifest.json"
_HINT = "generate the set again (--force)"


def keep_set(set_path: Path, run_dir: Path, selected: Sequence[Instance] | None = None) -> str:
    """Copies what a run needs of a set into the run's folder; returns the hash of the copies' checksums.

    Args:
        selected: the instances whose files are copied; None for all. The manifest is copied as it is.

    Raises:
        SalverError: a file is missing, was changed since the set was generated, or cannot be copied.
    """
    stated = _sums(set_path)
    instances = read_manifest(set_path).instances if selected is None else selected
    target = run_dir / FOLDER
    found: dict[str, str] = {}
    try:
        for name in _files(set_path, instances):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(set_path / name, target / name)
            found[name] = _sha256(target, name)
            if stated.get(name, found[name]) != found[name]:
                raise SalverError("was changed after it was generated", str(set_path / name), _HINT)
        refuse_other_ids(target, instances, set_path)
        text = "".join(f"{digest}  {name}\n" for name, digest in sorted(found.items()))
        (target / SUMS).write_text(text)
        sync(target / SUMS)
    except OSError as error:
        what = f"cannot be copied into the run's folder ({error.strerror or error})"
        raise SalverError(what, str(set_path), "free some space, or generate the set again") from error
    return hashlib.sha256(text.encode()).hexdigest()


def kept_set(run_dir: Path, digest: str) -> Path:
    """Folder of the set that a run keeps, after a look at every file of it.

    Raises:
        SalverError: a file was changed or removed since; all of them are looked at, the first is named.
    """
    folder = run_dir / FOLDER
    hint = f"restore the run's folder {FOLDER}/ from a copy, or run again"
    try:
        text = read_inside(run_dir, f"{FOLDER}/{SUMS}", MOST_SUMS_BYTES)
    except FileNotFoundError:
        text = b""
    except OSError as error:
        raise SalverError(f"cannot be read ({error.strerror})", str(folder / SUMS), hint) from error
    if hashlib.sha256(text).hexdigest() != digest:
        raise SalverError("was changed since the run began", str(folder / SUMS), hint)
    bad = changed_files(folder, _sums(folder))
    if bad:
        more = f", as were {len(bad) - 1} other files of its instance set" if bad[1:] else ""
        raise SalverError(f"was changed since the run began{more}", str(folder / bad[0]), hint)
    return folder


def refuse_changed_set(set_path: Path) -> None:
    """Refuses a set of which a file is not what its checksums say; a set without checksums is let pass.

    Raises:
        SalverError: naming the first such file.
    """
    if bad := changed_files(set_path, _sums(set_path)):
        raise SalverError("was changed after it was generated", str(set_path / bad[0]), _HINT)


def edited_since(set_path: Path, run_dir: Path) -> list[str]:
    """Files of the set on disk that differ from what a run keeps, where it is still the same set."""
    kept = _sums(run_dir / FOLDER)
    if changed_files(set_path, {_MANIFEST: kept.get(_MANIFEST, "")}):
        return []
    return changed_files(set_path, kept)


def changed_files(folder: Path, sums: Mapping[str, str]) -> list[str]:
    """Names of files that are missing, or have another SHA-256 than is stated; sorted."""
    return sorted(name for name, digest in sums.items() if _sha256(folder, name) != digest)


def _files(folder: Path, instances: Iterable[Instance]) -> Iterator[str]:
    yield _MANIFEST
    names = {name for one in instances for name in one.files}
    for name in sorted(names):
        stored = [kind for kind in (name, f"{name}.gz") if (folder / kind).is_file()]
        if not stored:
            raise SalverError("file of an instance is missing", str(folder / name), _HINT)
        yield from stored


def refuse_other_ids(folder: Path, instances: Iterable[Instance], set_path: Path) -> None:
    """An instance's id is a hash of its network and query: refuses files that are not those.

    Raises:
        SalverError: naming the first such instance. OSError: a file cannot be read.
    """
    networks: dict[str, bytes] = {}
    for one in instances:
        for name in one.network_files:
            if name not in networks:
                networks[name] = bytes.fromhex(sha256_inside(folder, name, MOST_BYTES))
        text = _unpacked(folder, one.vnnlib)
        named = {name: networks[path] for name, path in one.named_networks.items()}
        if content_id(named, text) != one.id:
            what = f"its network or query was changed after it was generated (instance {one.name})"
            raise SalverError(what, str(set_path), _HINT)


def _unpacked(folder: Path, name: str) -> bytes:
    packed = f"{name}.gz"
    if not (folder / packed).is_file():
        return read_inside(folder, name, MOST_TEXT_BYTES)
    try:
        return unpack_inside(folder, packed, MOST_TEXT_BYTES)
    except UnfitFileError as error:
        raise SalverError(f"is corrupt ({error.strerror})", str(folder / packed), _HINT) from error


def _sums(folder: Path) -> dict[str, str]:
    """SHA-256 by name, as SHA256SUMS states them; nothing where there is none."""
    try:
        lines = read_inside(folder, SUMS, MOST_SUMS_BYTES).decode().splitlines()
    except (OSError, ValueError):
        return {}
    pairs = (line.partition("  ") for line in lines)
    return {name: digest for digest, _, name in pairs if name and ".." not in name and name[0] != "/"}


def _sha256(folder: Path, name: str) -> str:
    """The file's hash; empty where it cannot be read, or is none that a set has."""
    try:
        return sha256_inside(folder, name, MOST_BYTES)
    except OSError:
        return ""
