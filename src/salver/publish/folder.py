"""Makes the published folder of an instance set, and its archive: the same set gives the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from salver.core.confined import list_inside, read_inside, unpack
from salver.core.errors import SalverError, counted, file_error
from salver.core.files import refuse_missing_parent
from salver.families.instance import Manifest
from salver.families.instance_set import MOST_BYTES, MOST_MANIFEST_BYTES, read_manifest
from salver.families.provenance import read_made, sha256_of
from salver.families.publication import Publication
from salver.publish import generate_properties as drawing
from salver.publish.archive import archive, compressed
from salver.publish.card import data_card
from salver.publish.census import Census, count, network_facts, refuse_unfit
from salver.publish.croissant import croissant
from salver.publish.rights import Terms, citation_cff, licence_file, rights_of
from salver.publish.validate import MOST_LISTED_BYTES, validate

SUMS, METADATA = "SHA256SUMS", "croissant.json"


@dataclass(frozen=True)
class Prepared:
    """A publication before it is written: its files by relative path, and what its metadata lacks."""

    manifest: Manifest
    census: Census
    files: dict[str, bytes]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class PublishedFolder:
    """The folder, the archive beside it, and their sizes in bytes."""

    folder: Path
    archive: Path
    folder_bytes: int
    archive_bytes: int


def prepare(set_folder: Path, terms: Terms, publication: Publication | None = None) -> Prepared:
    """Validates an instance set and makes what is published of it.

    Args:
        terms: what the publisher says; publication: what the suite says.

    Raises:
        SalverError: the set does not validate, is nothing VNN-COMP takes (see `refuse_unfit`), or nobody says
            how a foreign network of it may be used.
    """
    manifest, complaints = validate(set_folder)
    if complaints:
        first = f"{complaints[0].file}: {complaints[0].what}"
        number = counted(len(complaints), "complaint")
        what = f"is not published, since it does not validate: {first} ({number})"
        raise SalverError(what, str(set_folder), "generate it again with `salver generate --force`")
    refuse_unfit(manifest, str(set_folder))
    census = count(manifest, network_facts(set_folder, manifest))
    rights = rights_of(manifest, _files_of(set_folder), publication, terms)
    files = published_files(set_folder, manifest, census, terms, publication)
    return Prepared(manifest, census, files, rights.missing)


def _files_of(set_folder: Path) -> tuple[str, ...]:
    made = read_made(set_folder)
    return tuple(made.ingredients.files) if made else ()


def write(prepared: Prepared, out: Path, *, force: bool = False) -> PublishedFolder:
    """Writes the folder `out`, with `out`.tar.gz and its checksum beside it.

    Args:
        force: an earlier publication is replaced though it is another set or was changed by hand.

    Raises:
        SalverError: something there would be lost, or it cannot be written; then all is as before.
    """
    out = out.absolute()
    packed = archive(prepared.files, set_name(prepared.manifest))
    refuse_loss(prepared, out, packed, force=force)
    target = out.with_name(out.name + ".tar.gz")
    beside = {target: packed, _sum_of(target): f"{_sha256(packed)}  {target.name}\n".encode()}
    _write_folder(out, prepared.files | _drawn_there(prepared, out), beside)
    return PublishedFolder(out, target, sum(len(data) for data in prepared.files.values()), len(packed))


def differences(prepared: Prepared, folder: Path) -> list[str]:
    """Files of a published folder whose content is another than what would be published now.

    Compressed files are compared unpacked, since another zlib packs otherwise; of the metadata all but the
    checksums is compared.
    """
    drawn = drawn_from(prepared.manifest)
    there = {name for name, _ in list_inside(folder) if name not in drawn}
    odd = there ^ set(prepared.files)
    as_drawn = {"instances.csv"} if is_draw(prepared.manifest, folder) else set()
    changed = {
        name
        for name, data in prepared.files.items()
        if not (name in odd | as_drawn or name == SUMS)
        and _content(name, data) != _content(name, _stored(folder, name))
    }
    return sorted(odd | changed)


def _stored(folder: Path, name: str) -> bytes:
    """Content of a published file; none of what is no file, which differs from any."""
    try:
        return read_inside(folder, name, MOST_BYTES)
    except OSError:
        return b""


def drawn_from(manifest: Manifest) -> dict[str, str]:
    """The files that `generate_properties.py` may write beside the published ones, and their sources.

    A name without `.gz` is the unpacked content of its source, others are copies.
    """
    found: dict[str, str] = {}
    for instance in manifest.instances:
        found |= {path: f"{path}.gz" for path in (instance.onnx, instance.vnnlib)}
        for version, texts in drawing.VERSIONS.items():
            text = f"{getattr(instance, texts)}.gz"
            found[f"{version}/{instance.onnx}.gz"] = f"{instance.onnx}.gz"
            found[f"{version}/vnnlib/{Path(text).name}"] = text
    return found | {f"{version}/instances.csv": "instances.csv" for version in drawing.VERSIONS}


def is_draw(manifest: Manifest, folder: Path) -> bool:
    """Whether `instances.csv` can be what `generate_properties.py` draws: so many of each group, in order."""
    plain = [i.model_dump(mode="json") for i in manifest.instances]
    try:
        text = read_inside(folder, "instances.csv", MOST_LISTED_BYTES)
    except OSError:
        return False
    lines = set(text.decode(errors="replace").splitlines())
    chosen = [i for i in plain if drawing.csv_text([i]).strip() in lines]
    numbers = [len([i for i in own if i in chosen]) for own in drawing.groups(plain).values()]
    quotas = [drawing.quota(len(own)) for own in drawing.groups(plain).values()]
    return text == drawing.csv_text(chosen).encode() and numbers == quotas


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


def published_files(
    set_folder: Path,
    manifest: Manifest,
    census: Census,
    terms: Terms,
    publication: Publication | None = None,
) -> dict[str, bytes]:
    """The published files by relative path.

    Raises:
        SalverError: nobody says how a foreign network may be used.
    """
    rights = rights_of(manifest, _files_of(set_folder), publication, terms)
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
    name, title = set_name(manifest), rights.publication.title or manifest.title
    files["README.md"] = data_card(manifest, census, name, rights).encode()
    files["LICENSE"] = licence_file(rights, title, census.points).encode()
    if rights.publication.authors:
        files["CITATION.cff"] = citation_cff(rights, manifest, title).encode()
    files[METADATA] = croissant(manifest, census, files, rights, name).encode()
    files[SUMS] = "".join(f"{_sha256(files[path])}  {path}\n" for path in sorted(files)).encode()
    return files


def _drawn_there(prepared: Prepared, out: Path) -> dict[str, bytes]:
    """What `generate_properties.py` wrote into a folder whose instances stay the same."""
    manifest = out / "manifest.json"
    if not manifest.is_file() or manifest.read_bytes() != prepared.files["manifest.json"]:
        return {}
    drawn = [name for name in drawn_from(prepared.manifest) if (out / name).is_file()]
    kept = [*drawn, "instances.csv"] if is_draw(prepared.manifest, out) else drawn
    return {name: (out / name).read_bytes() for name in kept}


def _write_folder(out: Path, files: Mapping[str, bytes], beside: Mapping[Path, bytes]) -> None:
    """Everything is written elsewhere first and then renamed, which needs no space."""
    try:
        room = Path(tempfile.mkdtemp(prefix=".partial-", dir=out.parent))
    except OSError as error:
        raise file_error(error, out) from error
    new, old = room / "new", room / "old"
    try:
        for path, data in files.items():
            _place(new / path, data)
        for target, data in beside.items():
            _place(room / target.name, data)
        try:
            if out.exists():
                out.rename(old)
            new.rename(out)
        except BaseException:
            if old.exists() and not out.exists():
                old.rename(out)
            raise
        for target in beside:
            (room / target.name).replace(target)
    except OSError as error:
        raise file_error(error, out) from error
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _place(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(0o755 if path.suffix == ".py" else 0o644)


def refuse_strangers(out: Path) -> None:
    """Refuses a folder in which something lies that no publication wrote.

    Raises:
        SalverError: a file instead, no published set, or a file that is not of the set.
    """
    refuse_missing_parent(out)
    if not out.exists() and not out.is_symlink():
        return
    is_ours = (out / METADATA).is_file() and (out / SUMS).is_file()
    if out.is_symlink() or not out.is_dir() or (not is_ours and any(out.iterdir())):
        raise SalverError("exists and is no published set", str(out), "choose another folder with -o")
    if not is_ours:
        return
    listed = {line.partition("  ")[2] for line in (out / SUMS).read_text(errors="replace").splitlines()}
    drawn = drawn_from(read_manifest(out))
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        known = name in listed or name == SUMS or name in drawn
        if path.is_symlink() or not (known or path.is_dir()):
            what = f"holds {name}, which is not of the published set and would be lost"
            raise SalverError(what, str(out), "move it elsewhere, or choose another folder with -o")


def refuse_loss(prepared: Prepared, out: Path, packed: bytes, *, force: bool) -> None:
    """Refuses to replace what was published before by anything but the same set.

    Raises:
        SalverError: as `refuse_strangers`; another set, other instances under the same version, files changed
            by hand (all of which `force` allows), or an archive that was not written with the folder.
    """
    refuse_strangers(out)
    hint = "choose another folder with -o, or replace it with --force"
    if (out / SUMS).is_file() and not force:
        there = read_manifest(out)
        for line in (out / SUMS).read_text(errors="replace").splitlines():
            digest, _, name = line.partition("  ")
            other_seed = name == "instances.csv" and is_draw(there, out)
            if sha256_of(out / name) != digest and not other_seed:
                raise SalverError(f"{name} was changed since it was published", str(out), hint)
        if set_name(there) != set_name(prepared.manifest):
            what = f"holds {set_name(there)}, not {set_name(prepared.manifest)}"
            raise SalverError(what, str(out), hint)
        if (out / "manifest.json").read_bytes() != prepared.files["manifest.json"]:
            what = f"version {there.version} was published with other instances"
            raise SalverError(what, str(out), "raise `version` in the suite, or replace it with --force")
    target = out.with_name(out.name + ".tar.gz")
    if not os.path.lexists(target) or sha256_of(target) == _sha256(packed):
        return
    try:
        stated = _sum_of(target).read_text().split()[:1]
    except (OSError, UnicodeDecodeError):
        stated = []
    if stated != [sha256_of(target)] or not ((out / SUMS).is_file() or force):
        raise SalverError("is there already, from something else", str(target), "move it away")


def _sum_of(target: Path) -> Path:
    return target.with_name(target.name + ".sha256")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
