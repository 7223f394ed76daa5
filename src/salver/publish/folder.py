"""Makes the published folder of an instance set, and its archive: the same set gives the same bytes."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from salver.confined import list_inside, read_inside, unpack
from salver.errors import SalverError, file_error
from salver.files import write_atomically
from salver.instance_set import MOST_BYTES, MOST_MANIFEST_BYTES
from salver.model import Manifest
from salver.publish import generate_properties as drawing
from salver.publish.archive import archive, compressed
from salver.publish.card import data_card, licence_file
from salver.publish.census import Census, count, network_facts, refuse_unfit
from salver.publish.croissant import Terms, croissant
from salver.validate import MOST_LISTED_BYTES, validate

SUMS, METADATA = "SHA256SUMS", "croissant.json"
_LICENCE = Path(__file__).with_name("LICENSE.txt")


@dataclass(frozen=True)
class Prepared:
    """A publication before it is written: its files by relative path."""

    manifest: Manifest
    census: Census
    files: dict[str, bytes]


@dataclass(frozen=True)
class Written:
    """The folder, the archive beside it, and their sizes in bytes."""

    folder: Path
    archive: Path
    folder_bytes: int
    archive_bytes: int


def prepare(set_folder: Path, terms: Terms) -> Prepared:
    """Validates an instance set and makes what is published of it.

    Raises:
        SalverError: the set does not validate, or is nothing VNN-COMP takes (see `refuse_unfit`).
    """
    manifest, complaints = validate(set_folder)
    if complaints:
        first = f"{complaints[0].file}: {complaints[0].what}"
        what = f"is not published, since it does not validate: {first} ({len(complaints)} complaints)"
        raise SalverError(what, str(set_folder), "generate it again with `salver generate --force`")
    refuse_unfit(manifest, str(set_folder))
    census = count(manifest, network_facts(set_folder, manifest))
    return Prepared(manifest, census, published_files(set_folder, manifest, census, terms))


def write(prepared: Prepared, out: Path) -> Written:
    """Writes the folder `out`, with `out`.tar.gz and its checksum beside it.

    Raises:
        SalverError: `out` holds something else, or cannot be written.
    """
    out = out.absolute()
    _refuse_strangers(out)
    packed = archive(prepared.files, set_name(prepared.manifest))
    _write_folder(out, prepared.files)
    target = out.with_name(out.name + ".tar.gz")
    write_atomically(target, packed)
    write_atomically(out.with_name(target.name + ".sha256"), f"{_sha256(packed)}  {target.name}\n")
    return Written(out, target, sum(len(data) for data in prepared.files.values()), len(packed))


def differences(prepared: Prepared, folder: Path) -> list[str]:
    """Files of a published folder whose content is another than what would be published now.

    Compressed files are compared unpacked, since another zlib packs otherwise; of the metadata all but the
    checksums is compared.
    """
    there = {name for name, _ in list_inside(folder) if not is_drawn(name)}
    odd = there ^ set(prepared.files)
    changed = {
        name
        for name, data in prepared.files.items()
        if not (name in odd or name == SUMS) and _content(name, data) != _content(name, _stored(folder, name))
    }
    return sorted(odd | changed)


def _stored(folder: Path, name: str) -> bytes:
    """Content of a published file; none of what is no file, which differs from any."""
    try:
        return read_inside(folder, name, MOST_BYTES)
    except OSError:
        return b""


def is_drawn(name: str) -> bool:
    """Whether a file of a published folder is one that `generate_properties.py` wrote there."""
    top, _, rest = name.partition("/")
    plain = top in ("onnx", "vnnlib") and rest.endswith(f".{top}")
    return plain or top in drawing.VERSIONS


def terms_of(folder: Path) -> Terms:
    """What the publisher of a folder said about it.

    Raises:
        SalverError: no published set there.
    """
    try:
        stated = json.loads(read_inside(folder, METADATA, MOST_LISTED_BYTES))
        return Terms(
            url=stated.get("url"), date=stated.get("datePublished"), creator=stated["creator"]["name"]
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SalverError(
            f"holds no published set ({error})", str(folder), "publish one there first"
        ) from error


def _content(name: str, data: bytes) -> object:
    try:
        if name == METADATA:
            return {key: value for key, value in json.loads(data).items() if key != "distribution"}
        return unpack(data, MOST_BYTES) if name.endswith(".gz") else data
    except (OSError, ValueError, RecursionError):
        return data


def set_name(manifest: Manifest) -> str:
    """Name of a published set, which is the top folder of its archive."""
    return f"salver-{manifest.suite}-{manifest.version}-s{manifest.seed}"


def published_files(set_folder: Path, manifest: Manifest, census: Census, terms: Terms) -> dict[str, bytes]:
    """The published files by relative path."""
    files = {"manifest.json": read_inside(set_folder, "manifest.json", MOST_MANIFEST_BYTES)}
    for instance in manifest.instances:
        for path in (instance.onnx, instance.network):
            if f"{path}.gz" not in files:
                files[f"{path}.gz"] = compressed(read_inside(set_folder, path, MOST_BYTES))
        for path in (instance.vnnlib, instance.vnnlib2):
            files[f"{path}.gz"] = read_inside(set_folder, f"{path}.gz", MOST_BYTES)
    plain = [i.model_dump(mode="json") for i in manifest.instances]
    files["instances.csv"] = drawing.csv_text(drawing.draw(plain, manifest.seed)).encode()
    files["generate_properties.py"] = Path(drawing.__file__).read_bytes()
    name = set_name(manifest)
    files["README.md"] = data_card(manifest, census, name).encode()
    files["LICENSE"] = licence_file(_LICENCE.read_text(), census.points).encode()
    files[METADATA] = croissant(manifest, census, files, terms, name).encode()
    files[SUMS] = "".join(f"{_sha256(files[path])}  {path}\n" for path in sorted(files)).encode()
    return files


def _write_folder(out: Path, files: Mapping[str, bytes]) -> None:
    """The old folder, if any, stays until the new one is complete."""
    old: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=out.parent))
        try:
            for path, data in files.items():
                target = partial / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
                target.chmod(0o755 if path.endswith(".py") else 0o644)
            partial.chmod(0o755)
            if out.exists():
                old = partial.with_name(partial.name + "-old")
                out.rename(old)
            partial.rename(out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise file_error(error, out) from error
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _refuse_strangers(out: Path) -> None:
    """A folder that is no published set is not replaced."""
    if not out.exists():
        return
    is_ours = (out / METADATA).is_file() and (out / SUMS).is_file()
    if not out.is_dir() or (not is_ours and any(out.iterdir())):
        raise SalverError("exists and is no published set", str(out), "choose another folder with -o")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
