"""Instance sets that a person names by their place: published ones, those of `generate`, VNN-COMP's.

Whatever is named is taken over into a fresh folder, in the form of our own sets: networks as they are, texts
compressed, a manifest. Nothing of it is trusted: names stay inside the folder, links are not followed, sizes
are bounded. Of VNN-COMP's sets nothing is known but the files (`Instance.facts` is None).
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import math
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import onnx

from salver import __version__
from salver.core.confined import UnfitFileError, inside, read_inside, refuse_leaving
from salver.core.confined import unpack as unpack_gzip
from salver.core.errors import SalverError, counted, file_error
from salver.core.names import refuse_unsafe_path
from salver.core.unpacking import unpack
from salver.families.instance import Instance, Manifest, content_id
from salver.families.instance_set import MOST_MANIFEST_BYTES, read_manifest
from salver.families.suite import GivenSuite, refuse_network
from salver.nets.onnx.declared import inputs_of
from salver.nets.onnx.file import MOST_BYTES, self_contained
from salver.spec.instances_csv import Row, read_rows
from salver.spec.read import MOST_BYTES as MOST_TEXT_BYTES

ARCHIVES = (".tar.gz", ".tgz")
LIST = "instances.csv"
SUMS = "SHA256SUMS"
VERSIONS = ("1.0", "2.0")
"""Folders of a benchmark of 2026, each with a set of its own; the first there is is taken."""
MOST_LIST_BYTES = 64 << 20
_MANIFEST = "manifest.json"
_DECLARED = re.compile(r"^[^;\n]*?\(\s*(declare-network|declare-const|declare-fun)\b", re.MULTILINE)
_HINT = "name a published set, a set of `salver generate`, or a folder with an instances.csv as VNN-COMP has"


@dataclass(frozen=True)
class GivenSet:
    """A set that was taken over; its folder is there while it is open."""

    suite: GivenSuite
    folder: Path
    manifest: Manifest


def is_given(target: str) -> bool:
    """Whether what was named is the place of a set, and no key or file of a suite."""
    path = Path(target)
    return not target.endswith(".toml") and (
        "/" in target or path.exists() or target.endswith((*ARCHIVES, ".csv"))
    )


def benchmark_rows(folder: Path) -> Iterator[tuple[list[Path], Path]]:
    """The files of every query of a benchmark's folder: those of its networks, and its text.

    Raises:
        SalverError: the folder is no benchmark, its list is malformed, or a file of it is missing.
    """
    if not folder.is_dir():
        raise SalverError("is no folder", str(folder), _HINT)
    place, _ = _located(folder, folder)
    for row in _rows(place, LIST):
        where = f"{place / LIST}, line {row.line}"
        networks = [inside(place, _stored(place, path, where)) for _, path in row.networks]
        yield networks, inside(place, _stored(place, row.vnnlib, where))


@contextlib.contextmanager
def opened(target: Path) -> Iterator[GivenSet]:
    """Takes a set over into a folder that is there as long as the context is.

    Raises:
        SalverError: nothing is there, it is no set, files are missing, damaged, too large or outside of it.
    """
    if not target.exists():
        raise SalverError("does not exist", str(target), _HINT)
    with tempfile.TemporaryDirectory(prefix="salver-set-") as temporary:
        folder, rows = _located(target, Path(temporary) / "unpacked")
        place = Path(temporary) / "set"
        place.mkdir()
        try:
            if (folder / _MANIFEST).is_file():
                manifest = _own(folder, rows, place)
            else:
                listed = rows if rows is not None else LIST
                manifest = _foreign(folder, listed, _name_of(target, folder), place)
            (place / _MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n")
        except OSError as error:
            raise file_error(error, target, "taken over") from error
        suite = GivenSuite(
            key=manifest.suite, title=manifest.title, version=manifest.version, seed=manifest.seed,
            source=target,
        )  # fmt: skip
        yield GivenSet(suite, place, manifest)


def _located(target: Path, unpacked: Path) -> tuple[Path, str | None]:
    """The folder with the set's files, and the list of its instances where one was named."""
    if target.is_file() and target.name.endswith(ARCHIVES):
        unpacked.mkdir()
        target = unpack(target, unpacked)
    elif target.is_file() and target.suffix == ".csv":
        return target.absolute().parent, target.name
    elif not target.is_dir():
        refuse_network(str(target))
        raise SalverError("is no instance set", str(target), _HINT)
    for folder in (target, *(target / version for version in VERSIONS)):
        if any((folder / name).is_file() for name in (_MANIFEST, LIST)):
            return folder, None
    inner = sorted(path.parent.name for path in target.glob(f"*/{LIST}"))
    inner += sorted(path.parent.parent.name for path in target.glob(f"*/*/{LIST}"))
    hint = f"name one of its folders: {', '.join(dict.fromkeys(inner[:8]))}" if inner else _HINT
    raise SalverError(f"has neither {_MANIFEST} nor {LIST}", str(target), hint)


def _name_of(target: Path, folder: Path) -> str:
    """A benchmark's name: that of its folder, of the one above a version's, or of its archive."""
    place = folder if folder.name not in VERSIONS else folder.parent
    name = place.resolve().name if target.is_dir() or target.suffix == ".csv" else target.name
    name = name.removesuffix(".tgz").removesuffix(".tar.gz")
    return re.sub(r"[^A-Za-z0-9_.+-]", "-", name)[:80].lstrip(".+-") or "set"


def _own(folder: Path, listed: str | None, place: Path) -> Manifest:
    """One of our sets, whose files must be what its checksums say; the listed part of it."""
    manifest = read_manifest(folder)
    if listed is not None:
        rows = {(*(path for _, path in row.networks), row.vnnlib) for row in _rows(folder, listed)}
        part = tuple(one for one in manifest.instances if (*one.network_files, one.vnnlib) in rows)
        if len(part) != len(rows):
            what = f"lists {counted(len(rows) - len(part), 'instance')} that its manifest does not have"
            raise SalverError(what, str(folder / listed), "correct the list")
        manifest = manifest.model_copy(update={"instances": part})
    sums, texts = _sums(folder), {name for one in manifest.instances for name in (one.vnnlib, one.vnnlib2)}
    for name in dict.fromkeys(name for one in manifest.instances for name in one.files):
        data = _content(folder, name, MOST_TEXT_BYTES if name in texts else MOST_BYTES, sums)
        _place(place, name, data, packed=name in texts)
    return manifest


def _sums(folder: Path) -> dict[str, str]:
    """SHA-256 by name; none where the set states none."""
    try:
        lines = read_inside(folder, SUMS, MOST_MANIFEST_BYTES).decode(errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _foreign(folder: Path, listed: str, name: str, place: Path) -> Manifest:
    """A set that is a list of networks and queries."""
    rows = _rows(folder, listed)
    where = str(folder / listed)
    networks: dict[str, _NetworkFile] = {}
    instances: list[Instance] = []
    names: set[str] = set()
    for row in rows:
        for _, path in row.networks:
            if path not in networks:
                networks[path] = _take_network(folder, path, place, f"{where}, line {row.line}")
        text = _content(folder, row.vnnlib, MOST_TEXT_BYTES, {}, f"{where}, line {row.line}")
        _place(place, row.vnnlib, text, packed=True)
        instance = _instance(row, name, networks, text, names)
        names.add(instance.name)
        instances.append(instance)
    contents = "".join(f"{one.id} {one.timeout:g}\n" for one in instances)
    return Manifest(
        suite=name, version="1", seed=0, title=name, description="", salver=__version__,
        recipe=hashlib.sha256(contents.encode()).hexdigest()[:16], instances=tuple(instances),
    )  # fmt: skip


def _instance(
    row: Row, suite: str, networks: dict[str, _NetworkFile], text: bytes, taken: set[str]
) -> Instance:
    files = tuple(dict.fromkeys(path for _, path in row.networks))
    operators = sorted(frozenset().union(*(networks[path].operators for path in files)))
    named = {name: path for name, path in row.networks if name}
    declared = _DECLARED.search(text.decode(errors="replace"))
    is_newer = declared is not None and declared[1] == "declare-network"
    return Instance(
        id=content_id({name: networks[path].digest for name, path in row.networks}, text),
        suite=suite,
        name=_instance_name(files[0], row, taken),
        onnx=files[0],
        networks=named,
        vnnlib=row.vnnlib,
        vnnlib2=row.vnnlib if is_newer else "",
        network="",
        inputs=sum(networks[path].inputs for _, path in row.networks),
        timeout=row.timeout,
        operators=tuple(operators),
        facts=None,
    )


def _instance_name(network: str, row: Row, taken: set[str]) -> str:
    """Network and query, as VNN-COMP names an instance; a query's name may have the network's in it."""
    first, query = Path(network).stem, Path(row.vnnlib).stem
    name = (query if query.startswith(first) else f"{first}_{query}")[:180]
    return name if name not in taken else f"{name}-line{row.line}"


def _rows(folder: Path, listed: str) -> list[Row]:
    """The lines of a list with plain paths, each once."""
    where = str(folder / listed)
    try:
        text = read_inside(folder, listed, MOST_LIST_BYTES).decode(errors="replace")
    except OSError as error:
        raise file_error(error, where, "read") from error
    rows: list[Row] = []
    seen: dict[tuple[object, str], int] = {}
    for row in read_rows(text, where):
        place = f"{where}, line {row.line}"
        networks = tuple((name, _plain_path(path, place)) for name, path in row.networks)
        plain = Row(networks, _plain_path(row.vnnlib, place), row.timeout, row.line)
        first = seen.setdefault((plain.networks, plain.vnnlib), row.line)
        if first != row.line:
            raise SalverError(f"is the same instance as line {first}", place, "remove one of them")
        rows.append(plain)
    if not rows:
        raise SalverError("lists no instance", where, "write a line network,query,seconds for each")
    return rows


def _plain_path(path: str, where: str) -> str:
    """The path as our sets have it: without `./` and `.gz`. Raises: SalverError: it leaves the set."""
    try:
        plain = "/".join(refuse_leaving(path.removesuffix(".gz")))
    except UnfitFileError as error:
        raise SalverError(
            f"{path[:60]!r} is {error.strerror}", where, "name files in the set's folder"
        ) from error
    refuse_unsafe_path(plain, where)
    return plain


class _NetworkFile(NamedTuple):
    """SHA-256 of a network's file, its operators, and the entries of its inputs."""

    digest: bytes
    operators: frozenset[str]
    inputs: int


def _take_network(folder: Path, path: str, place: Path, where: str) -> _NetworkFile:
    """Copies a network with all that belongs to it."""
    stored = _stored(folder, path, where)
    data = self_contained(inside(folder, stored))
    _place(place, path, data, packed=False)
    graph = onnx.load_from_string(data).graph
    shapes = (value.type.tensor_type.shape.dim for value in inputs_of(graph))
    inputs = sum(math.prod(axis.dim_value or 1 for axis in axes) for axes in shapes)
    operators = frozenset(node.op_type for node in graph.node)
    return _NetworkFile(hashlib.sha256(data).digest(), operators, inputs)


def _stored(folder: Path, path: str, where: str) -> str:
    """The name of a file as it is stored, packed or not. Raises: SalverError: none, or two that differ."""
    packed = f"{path}.gz"
    there = [name for name in (path, packed) if (folder / name).exists() or (folder / name).is_symlink()]
    if not there:
        hint = "put the file there, or correct the list"
        raise SalverError(f"names {path}, which is not there", where, hint)
    if len(there) == 2 and _held(folder, path) != _held(folder, packed):
        raise SalverError(f"names {path}, and {packed} holds another file", where, "remove one of the two")
    return there[0]


def _held(folder: Path, name: str) -> bytes:
    """What a file holds, unpacked."""
    try:
        data = read_inside(folder, name, MOST_BYTES)
        return unpack_gzip(data, MOST_BYTES, name) if name.endswith(".gz") else data
    except OSError as error:
        raise file_error(error, folder / name, "read") from error


def _content(folder: Path, path: str, most: int, sums: dict[str, str], where: str = "") -> bytes:
    """What a file holds, unpacked; its checksum is looked at where one is stated."""
    name = _stored(folder, path, where or str(folder))
    try:
        raw = read_inside(folder, name, most)
        if sums.get(name, digest := hashlib.sha256(raw).hexdigest()) != digest:
            what = "is not what the set's checksums say"
            raise SalverError(what, str(folder / name), "fetch the set again, or generate it again")
        return unpack_gzip(raw, most, name) if name != path else raw
    except OSError as error:
        hint = "put the file itself there" if isinstance(error, UnfitFileError) else "check the path"
        raise SalverError(f"cannot be read ({error.strerror})", str(folder / name), hint) from error


def _place(place: Path, name: str, data: bytes, *, packed: bool) -> None:
    target = place / (f"{name}.gz" if packed else name)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(gzip.compress(data, compresslevel=4, mtime=0) if packed else data)
