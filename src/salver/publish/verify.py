"""What a receiver does with a published set, folder or archive: checksums, then validation of it all.

Nothing in it is trusted: an archive is unpacked to a folder of its own, networks and texts are read by the
readers for untrusted files, and the set that `salver validate` looks at is put together from the files anew.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from salver.core.confined import (
    MOST_STORED_BYTES,
    UnfitFileError,
    list_inside,
    read_inside,
    read_regular,
    sha256_inside,
    unpack_inside,
)
from salver.core.errors import FoundError, SalverError, plain_reason
from salver.core.names import refuse_unsafe_path
from salver.core.unpacking import unpack
from salver.families.given import opened
from salver.families.instance import Manifest
from salver.families.instance_set import MOST_MANIFEST_BYTES, checksums, read_manifest
from salver.nets.onnx.file import MOST_BYTES
from salver.publish import generate_properties as drawing
from salver.publish.census import refuse_unfit
from salver.publish.folder import METADATA, SUMS, drawn_from, is_draw
from salver.publish.validate import MOST_LISTED_BYTES, Complaint, validate, validate_given
from salver.spec.read import MOST_BYTES as MOST_TEXT_BYTES

MOST_SUM_BYTES = 4096


def verify_set(path: Path) -> tuple[Manifest | None, list[Complaint]]:
    """Checks a published folder or its .tar.gz; an empty list means that everything fits.

    Files that `generate_properties.py` wrote beside the published ones must be what it writes for some seed.

    Returns:
        The manifest, or None where a complaint says that it cannot be read.

    Raises:
        SalverError: nothing there, no published set, an archive that cannot be unpacked.
        FoundError: such an archive that is not the one its checksum beside it is of.
    """
    if not path.exists():
        raise SalverError("does not exist", str(path), "name a published folder or its .tar.gz")
    if not (path.is_dir() or path.is_file()):
        raise SalverError("is no regular file", str(path), "name a published folder or its .tar.gz")
    with tempfile.TemporaryDirectory() as temporary:
        if path.is_dir():
            return _verify_folder(path, Path(temporary) / "set")
        early = list(_archive_sum(path))
        try:
            folder = unpack(path, Path(temporary) / "unpacked")
        except SalverError as error:
            if early:
                raise FoundError(f"{error.what}; it {early[0].what}", error.where, error.hint) from error
            raise
        manifest, complaints = _verify_folder(folder, Path(temporary) / "set")
        return manifest, early + complaints


def check_set(path: Path) -> tuple[int, list[Complaint]]:
    """Checks any instance set, by all that is known of it: its instances, and what does not fit.

    Raises:
        SalverError: it is no set, or cannot be read.
    """
    if (path / "manifest.json").is_file():
        published = (path / METADATA).is_file()
        manifest, complaints = verify_set(path) if published else validate(path)
        return len(manifest.instances) if manifest else 0, complaints
    with opened(path) as found:
        if all(one.facts is None for one in found.manifest.instances):
            return len(found.manifest.instances), validate_given(found.folder, found.manifest)
    if path.suffix == ".csv":
        return check_set(path.parent)
    manifest, complaints = verify_set(path)
    return len(manifest.instances) if manifest else 0, complaints


def _archive_sum(path: Path) -> Iterator[Complaint]:
    beside = path.with_name(path.name + ".sha256")
    try:
        told = read_regular(beside, MOST_SUM_BYTES).decode(errors="replace").split()[:1]
    except OSError:
        return
    if told != [_sha256(path)]:
        yield Complaint(path.name, f"is not the archive that {beside.name} was made of")


def _verify_folder(folder: Path, scratch: Path) -> tuple[Manifest | None, list[Complaint]]:
    if not all(os.path.lexists(folder / name) for name in (SUMS, METADATA)):
        hint = "`salver publish` makes one; `salver validate` checks the instance set of a suite"
        raise SalverError(f"is no published set: it lacks {SUMS} or {METADATA}", str(folder), hint)
    listed, complaints = _listed(folder)
    try:
        manifest = read_manifest(folder)
    except SalverError as error:
        return None, [*complaints, *_sums(folder, listed, None), Complaint("manifest.json", error.what)]
    complaints += [*_sums(folder, listed, manifest), *_metadata(folder, listed)]
    try:
        refuse_unfit(manifest, "manifest.json")
        _rebuild(folder, manifest, scratch)
        complaints += validate(scratch)[1]
    except SalverError as error:
        complaints.append(Complaint(error.where or "manifest.json", error.what))
    complaints += _draw(folder, manifest)
    return manifest, complaints


def _listed(folder: Path) -> tuple[dict[str, str], list[Complaint]]:
    """Checksums by file name, without the names that leave the folder."""
    listed, complaints = {}, []
    try:
        lines = read_inside(folder, SUMS, MOST_LISTED_BYTES).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        return {}, [Complaint(SUMS, f"cannot be read ({plain_reason(error)})")]
    for line in lines:
        digest, _, name = line.partition("  ")
        try:
            refuse_unsafe_path(name, SUMS)
            listed[name] = digest
        except SalverError as error:
            complaints.append(Complaint(SUMS, error.what))
    return listed, complaints


def _sums(folder: Path, listed: dict[str, str], manifest: Manifest | None) -> Iterator[Complaint]:
    """Every listed file is there and unchanged; every other file is one that a draw writes."""
    drawn = drawn_from(manifest) if manifest else {}
    for name, digest in listed.items():
        try:
            found = sha256_inside(folder, name, MOST_BYTES)
        except OSError as error:
            yield Complaint(
                name, f"is {error.strerror}" if isinstance(error, UnfitFileError) else "is missing"
            )
            continue
        other_seed = name == "instances.csv" and manifest is not None and is_draw(manifest, folder)
        if found != digest and not other_seed:
            yield Complaint(name, "was changed after it was published: its checksum differs")
    for name, _ in sorted(list_inside(folder)):
        if name in listed or name == SUMS:
            continue
        if name not in drawn:
            yield Complaint(name, f"is not listed in {SUMS}")
        elif not _is_as_drawn(folder, name, drawn[name]):
            yield Complaint(name, "is not what generate_properties.py writes")


def _is_as_drawn(folder: Path, name: str, source: str) -> bool:
    """Whether a drawn file is its published source, unpacked where the name says so."""
    try:
        there = read_inside(folder, name, MOST_BYTES)
        if source.endswith(".gz") and not name.endswith(".gz"):
            return there == unpack_inside(folder, source, MOST_BYTES)
        return there == read_inside(folder, source, MOST_BYTES)
    except OSError:
        return False


def _metadata(folder: Path, listed: dict[str, str]) -> Iterator[Complaint]:
    """The checksums in `croissant.json` are those of the files."""
    try:
        described = json.loads(read_inside(folder, METADATA, MOST_LISTED_BYTES))["distribution"]
        stated = {str(one["contentUrl"]): str(one["sha256"]) for one in described}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        yield Complaint("croissant.json", f"cannot be read ({plain_reason(error)})")
        return
    for name, digest in stated.items():
        if listed.get(name) != digest:
            yield Complaint("croissant.json", f"states another checksum of {name[:80]} than {SUMS}")


def _draw(folder: Path, manifest: Manifest) -> Iterator[Complaint]:
    """`instances.csv` is the draw of a seed, in VNN-COMP's three columns."""
    if not is_draw(manifest, folder):
        yield Complaint("instances.csv", "does not list instances of the manifest as a seed draws them")


def _rebuild(folder: Path, manifest: Manifest, scratch: Path) -> None:
    """The instance set that was published, in the form `salver generate` leaves it."""
    for name in ("onnx", "networks", "vnnlib", "vnnlib2"):
        (scratch / name).mkdir(parents=True)
    for instance in manifest.instances:
        for path in (instance.onnx, instance.network):
            if not (scratch / path).exists():
                _place(scratch, path, _decompressed(folder, f"{path}.gz", MOST_BYTES))
        for path in (f"{instance.vnnlib}.gz", f"{instance.vnnlib2}.gz"):
            _decompressed(folder, path, MOST_TEXT_BYTES)
            _place(scratch, path, read_inside(folder, path, MOST_STORED_BYTES))
    plain: list[dict[str, Any]] = [i.model_dump(mode="json") for i in manifest.instances]
    (scratch / "instances.csv").write_text(drawing.csv_text(plain))
    _place(scratch, "manifest.json", read_inside(folder, "manifest.json", MOST_MANIFEST_BYTES))
    (scratch / SUMS).write_text(checksums(scratch))


def _place(scratch: Path, path: str, data: bytes) -> None:
    (scratch / path).parent.mkdir(parents=True, exist_ok=True)
    (scratch / path).write_bytes(data)


def _decompressed(folder: Path, name: str, most: int) -> bytes:
    try:
        return unpack_inside(folder, name, most)
    except OSError as error:
        large = isinstance(error, UnfitFileError) and error.errno == errno.EFBIG
        what = "unpacks to more than salver reads" if large else f"cannot be read ({error.strerror or error})"
        raise SalverError(what, name, "fetch the set again") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
