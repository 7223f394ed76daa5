"""What a receiver does with a published set, folder or archive: checksums, then validation of it all.

Nothing in it is trusted: an archive is unpacked to a folder of its own, networks and texts are read by the
readers for untrusted files, and the set that `salver validate` looks at is put together from the files anew.
"""

from __future__ import annotations

import errno
import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from salver.confined import (
    MOST_STORED_BYTES,
    UnfitFileError,
    list_inside,
    read_inside,
    read_regular,
    sha256_inside,
    unpack_inside,
)
from salver.errors import SalverError
from salver.instance_set import MOST_MANIFEST_BYTES, checksums, read_manifest
from salver.model import Manifest
from salver.names import refuse_unsafe_path
from salver.nets.onnx.file import MOST_BYTES
from salver.publish import generate_properties as drawing
from salver.publish.archive import unpack
from salver.publish.census import refuse_unfit
from salver.publish.folder import SUMS, is_drawn
from salver.spec.read import MOST_BYTES as MOST_TEXT_BYTES
from salver.validate import MOST_LISTED_BYTES, Complaint, validate

MOST_SUM_BYTES = 4096


def verify_set(path: Path) -> tuple[Manifest, list[Complaint]]:
    """Checks a published folder or its .tar.gz; an empty list means that everything fits.

    Files that `generate_properties.py` wrote beside the published ones are not looked at.

    Raises:
        SalverError: nothing there, an archive that cannot be unpacked, no readable manifest.
    """
    if not path.exists():
        raise SalverError("does not exist", str(path), "name a published folder or its .tar.gz")
    if not (path.is_dir() or path.is_file()):
        raise SalverError("is no regular file", str(path), "name a published folder or its .tar.gz")
    with tempfile.TemporaryDirectory() as temporary:
        if path.is_dir():
            return _verify_folder(path, Path(temporary) / "set")
        early = list(_archive_sum(path))
        folder = unpack(path, Path(temporary) / "unpacked")
        manifest, complaints = _verify_folder(folder, Path(temporary) / "set")
        return manifest, early + complaints


def _archive_sum(path: Path) -> Iterator[Complaint]:
    beside = path.with_name(path.name + ".sha256")
    try:
        told = read_regular(beside, MOST_SUM_BYTES).decode(errors="replace").split()[:1]
    except OSError:
        return
    if told != [_sha256(path)]:
        yield Complaint(path.name, f"is not the archive that {beside.name} was made of")


def _verify_folder(folder: Path, scratch: Path) -> tuple[Manifest, list[Complaint]]:
    manifest = read_manifest(folder)
    listed, complaints = _listed(folder)
    complaints += [*_sums(folder, listed), *_metadata(folder, listed)]
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
        return {}, [Complaint(SUMS, f"cannot be read ({error})")]
    for line in lines:
        digest, _, name = line.partition("  ")
        try:
            refuse_unsafe_path(name, SUMS)
            listed[name] = digest
        except SalverError as error:
            complaints.append(Complaint(SUMS, error.what))
    return listed, complaints


def _sums(folder: Path, listed: dict[str, str]) -> Iterator[Complaint]:
    """Every listed file is there and unchanged; every other file is one that a draw writes."""
    for name, digest in listed.items():
        try:
            found = sha256_inside(folder, name, MOST_BYTES)
        except OSError as error:
            yield Complaint(
                name, f"is {error.strerror}" if isinstance(error, UnfitFileError) else "is missing"
            )
            continue
        if found != digest:
            hint = ", unless another seed was drawn here" if name == "instances.csv" else ""
            yield Complaint(name, f"was changed after it was published: its checksum differs{hint}")
    for name, _ in sorted(list_inside(folder)):
        if name not in listed and name != SUMS and not is_drawn(name):
            yield Complaint(name, f"is not listed in {SUMS}")


def _metadata(folder: Path, listed: dict[str, str]) -> Iterator[Complaint]:
    """The checksums in `croissant.json` are those of the files."""
    try:
        described = json.loads(read_inside(folder, "croissant.json", MOST_LISTED_BYTES))["distribution"]
        stated = {str(one["contentUrl"]): str(one["sha256"]) for one in described}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        yield Complaint("croissant.json", f"cannot be read ({error})")
        return
    for name, digest in stated.items():
        if listed.get(name) != digest:
            yield Complaint("croissant.json", f"states another checksum of {name[:80]} than {SUMS}")


def _draw(folder: Path, manifest: Manifest) -> Iterator[Complaint]:
    """`instances.csv` names instances of the manifest, each once, in VNN-COMP's three columns."""
    plain = [i.model_dump(mode="json") for i in manifest.instances]
    known = set(drawing.csv_text(plain).splitlines())
    try:
        rows = read_inside(folder, "instances.csv", MOST_LISTED_BYTES).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        yield Complaint("instances.csv", f"cannot be read ({error})")
        return
    if not rows or len(set(rows)) != len(rows) or not set(rows) <= known:
        yield Complaint("instances.csv", "does not list instances of the manifest, each once")


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
