"""An instance set on disk: written once, whole or not at all; the same drafts give the same bytes."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from salver import __version__
from salver.core.confined import list_inside, read_inside, sha256_inside, unfit
from salver.core.errors import SalverError, file_error
from salver.core.names import refuse_unsafe_name, refuse_unsafe_path
from salver.core.records import first_violation
from salver.explain.reference import probes, refuse_wrong_graph
from salver.families.generator import InstanceDraft
from salver.families.instance import DataCard, Facts, Instance, Manifest, content_id
from salver.families.provenance import MADE, Ingredients, changed_files, recipe, write_made
from salver.families.suite import AnySuite, GivenSuite, Suite
from salver.nets.network import Network
from salver.nets.onnx.writer import to_bytes, to_model
from salver.spec import Property, to_vnnlib1, to_vnnlib2

MOST_MANIFEST_BYTES = 256 << 20
MOST_BYTES = 512 << 20
"""Largest file of a set."""
Progress = Callable[[int], None]
_GRAPH_FACTS = (
    "family",
    "network",
    "dataset",
    "explained",
    "logits",
    "saliencies",
    "relu_derivative_at_zero",
)


def set_folder(root: Path, suite: AnySuite) -> Path:
    """Folder of the suite's set: instances/<suite>/<version>-s<seed>; see `Suite.folder_name`.

    Of a set that was named it is what was named.
    """
    if isinstance(suite, GivenSuite):
        return suite.source
    return root / "instances" / suite.folder_name / f"{suite.version}-s{suite.seed}"


def read_manifest(folder: Path) -> Manifest:
    """Reads `manifest.json`.

    Raises:
        SalverError: missing or malformed, or it names a file outside of the set, or what is no regular file.
    """
    path = folder / "manifest.json"
    try:
        manifest = Manifest.model_validate_json(read_inside(folder, path.name, MOST_MANIFEST_BYTES))
    except FileNotFoundError:
        raise SalverError("no instance set here", str(folder), "run `salver generate SUITE` first") from None
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
        raise SalverError(what, str(path), "generate the set again") from error
    except ValueError as error:
        what = first_violation(error) if isinstance(error, ValidationError) else str(error).splitlines()[0]
        hint = "generate the set again, or use the version of salver that made it"
        raise SalverError(f"is malformed or of another version ({what})", str(path), hint) from error
    named = dict.fromkeys(file for one in manifest.instances for file in one.files)
    for file in named:
        refuse_unsafe_path(file, str(path))
        for stored in (file, f"{file}.gz"):
            if (other := unfit(folder, stored)) is not None:
                raise SalverError(f"is {other}", str(folder / stored), "put the file itself there")
    for one in manifest.instances:
        refuse_unsafe_path(one.name, str(path))
        if one.facts is not None and not (one.network and one.vnnlib2):
            what = f"{one.name!r} has no classifier or no VNN-LIB 2.0 text"
            raise SalverError(what, str(path), "generate the set again")
        if not 0 < one.timeout < float("inf"):
            raise SalverError(
                f"{one.name!r} has timeout {one.timeout}", str(path), "correct its manifest.json"
            )
    return manifest


def write_set(
    folder: Path,
    suite: Suite,
    drafts: Iterator[InstanceDraft],
    progress: Progress,
    ingredients: Ingredients | None = None,
    notes: Sequence[str] = (),
) -> Manifest:
    """Writes a set into `folder`, replacing an older one only when the new one is complete.

    Args:
        progress: called with the number of instances written so far.
        ingredients: what it is made from; None where nobody will ask whether it is up to date.
        notes: what its maker should know, complete when the drafts are drawn.

    Raises:
        SalverError: the folder holds something else; two drafts share a name, or networks of one name differ;
            no draft at all; it cannot be written, or a file it is made from changes meanwhile.
    """
    _refuse_strangers(folder)
    is_new = not folder.parent.exists()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
    except OSError as error:
        raise file_error(error, folder) from error
    try:
        manifest = _write(partial, suite, drafts, progress, ingredients)
        if ingredients is not None:
            write_made(partial, ingredients, tuple(notes))
            if changed := changed_files(partial):
                raise SalverError("changed while instances were made from it", changed[0], "generate again")
        partial.chmod(0o755)
        _replace(folder, partial)
    except OSError as error:
        raise file_error(error, folder) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if is_new and not folder.exists():
            with contextlib.suppress(OSError):
                folder.parent.rmdir()
    return manifest


def _refuse_strangers(folder: Path) -> None:
    """Refuses to replace a folder that holds anything but an instance set as it was written.

    Raises:
        SalverError: a file instead, files that no set has, or a folder that is no set.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise SalverError("is there already and is no folder", str(folder), "move it away")
    if not folder.exists() or not any(folder.iterdir()):
        return
    try:
        lines = (folder / "SHA256SUMS").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        raise SalverError("is there already and is no instance set", str(folder), "move it away") from None
    own = {line.partition("  ")[2] for line in lines} | {"SHA256SUMS", MADE}
    strange = [p for p in sorted(folder.rglob("*")) if p.relative_to(folder).as_posix() not in own]
    if strange := [p for p in strange if p.is_symlink() or not p.is_dir()]:
        what = f"holds {strange[0].relative_to(folder)}, which is not of the set and would be lost"
        raise SalverError(what, str(folder), "move it elsewhere")


def _replace(folder: Path, new: Path) -> None:
    """Two renames, so that at no moment a half-written set carries the name."""
    old = new.with_name(new.name + "-old")
    if folder.exists():
        folder.rename(old)
    try:
        new.rename(folder)
    except BaseException:
        if old.exists() and not folder.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


@dataclass(frozen=True)
class _Text:
    """The finished files of one property: hash over ONNX and 1.0 text, both versions compressed."""

    id: str
    vnnlib: bytes
    vnnlib2: bytes


@dataclass(frozen=True)
class _StoredGraph:
    """A query network of the set: path and hash of its file, its operators, and the network itself."""

    path: str
    digest: bytes
    operators: tuple[str, ...]
    network: Network


def _write(
    folder: Path,
    suite: Suite,
    drafts: Iterator[InstanceDraft],
    progress: Progress,
    ingredients: Ingredients | None,
) -> Manifest:
    for name in ("onnx", "networks", "vnnlib", "vnnlib2"):
        (folder / name).mkdir()
    graphs: dict[str, _StoredGraph] = {}
    classifiers: dict[str, Network] = {}
    instances: list[Instance] = []
    cards: dict[str, DataCard] = {}
    stems: set[str] = set()
    for draft in drafts:
        if draft.name in stems:
            raise SalverError(
                "two instances have this name", draft.name, "give the families distinct options"
            )
        stems.add(draft.name)
        for name in (draft.name, draft.graph_name, draft.classifier_name):
            refuse_unsafe_name(name, f"suite {suite.key}")
        if draft.card is not None and cards.setdefault(draft.card.name, draft.card) != draft.card:
            what = "is the name of data with other contents too"
            raise SalverError(what, draft.card.name, "give their files different names")
        _write_networks(folder, draft, graphs, classifiers)
        instances.append(_write_texts(folder, suite, draft, graphs[draft.graph_name]))
        progress(len(instances))
    if not instances:
        raise SalverError("no instance came out of it", f"suite {suite.key}", "loosen the family's options")
    manifest = Manifest(
        suite=suite.key,
        version=suite.version,
        seed=suite.seed,
        title=suite.title,
        description=suite.description,
        salver=__version__,
        recipe=recipe(suite.text, ingredients.files if ingredients else {}),
        data=tuple(cards.values()),
        instances=tuple(instances),
    )
    rows = (f"{i.onnx},{i.vnnlib},{i.timeout:g}\n" for i in instances)
    (folder / "instances.csv").write_text("".join(rows))
    (folder / "manifest.json").write_text(manifest.model_dump_json(indent=1) + "\n")
    (folder / "SHA256SUMS").write_text(checksums(folder))
    return manifest


def checksums(folder: Path) -> str:
    """`sha256sum` lines of every file below `folder` but SHA256SUMS and made.json themselves, by name.

    Raises:
        OSError: a file cannot be read, or is larger than `MOST_BYTES`.
    """
    files = sorted(Path(name) for name, kind in list_inside(folder) if kind == "file")
    names = [path.as_posix() for path in files if path.as_posix() not in ("SHA256SUMS", MADE)]
    return "".join(f"{sha256_inside(folder, name, MOST_BYTES)}  {name}\n" for name in names)


def _write_networks(
    folder: Path, draft: InstanceDraft, graphs: dict[str, _StoredGraph], classifiers: dict[str, Network]
) -> None:
    """Writes the draft's networks where no earlier draft had them; one name is one network."""
    name = draft.classifier_name
    if name not in classifiers:
        classifiers[name] = draft.classifier
        (folder / "networks" / f"{name}.onnx").write_bytes(
            to_bytes(to_model(draft.classifier, as_it_is=True))
        )
    _refuse_another(classifiers[name], draft.classifier, name)
    if draft.graph_name in graphs:
        _refuse_another(graphs[draft.graph_name].network, draft.graph, draft.graph_name)
        return
    model = to_model(draft.graph, {f"salver.{key}": str(getattr(draft.facts, key)) for key in _GRAPH_FACTS})
    data = to_bytes(model)
    refuse_wrong_instance(data, draft.graph, draft.classifier, draft.facts)
    path = f"onnx/{draft.graph_name}.onnx"
    operators = tuple(sorted({node.op_type for node in model.graph.node}))
    graphs[draft.graph_name] = _StoredGraph(path, hashlib.sha256(data).digest(), operators, draft.graph)
    (folder / path).write_bytes(data)


def refuse_wrong_instance(model: bytes, graph: Network, classifier: Network, facts: Facts) -> None:
    """Compares ONNX Runtime on a query's graph with what its facts say, at probes of the data's range.

    Raises:
        SalverError: they differ.
    """
    found = probes(classifier, *facts.spread, on_kinks=False)
    at_relus = facts.explanation is None or facts.explanation.kinks_at_relus
    kinks_known = at_relus and not facts.question.extra_outputs
    expected = facts.expected_outputs(classifier, found.x)
    refuse_wrong_graph(model, graph, expected, found, facts.logits, kinks_known)


def _refuse_another(first: Network, second: Network, name: str) -> None:
    """Refuses a second network under a name: its queries would be about the first.

    Raises:
        SalverError: the two networks differ.
    """
    if first is not second and first.sha256() != second.sha256():
        hint = "give the networks' files different names"
        raise SalverError("two networks of a suite have this name", name, hint)


def _write_texts(folder: Path, suite: Suite, draft: InstanceDraft, graph: _StoredGraph) -> Instance:
    text = _format(graph.digest, draft.prop, _header(draft.facts))
    instance = Instance(
        id=text.id,
        suite=suite.key,
        name=draft.name,
        onnx=graph.path,
        vnnlib=f"vnnlib/{draft.name}.vnnlib",
        vnnlib2=f"vnnlib2/{draft.name}.vnnlib",
        network=f"networks/{draft.classifier_name}.onnx",
        timeout=draft.timeout or suite.timeout,
        operators=graph.operators,
        facts=draft.facts,
    )
    (folder / f"{instance.vnnlib}.gz").write_bytes(text.vnnlib)
    (folder / f"{instance.vnnlib2}.gz").write_bytes(text.vnnlib2)
    return instance


def _format(graph_digest: bytes, prop: Property, header: list[str]) -> _Text:
    first, second = to_vnnlib1(prop, header).encode(), to_vnnlib2(prop, header).encode()
    number = content_id({"": graph_digest}, first)
    compressed = [gzip.compress(text, compresslevel=4, mtime=0) for text in (first, second)]
    return _Text(number, compressed[0], compressed[1])


def _header(facts: Facts) -> list[str]:
    """The facts as comment lines; sat means that the property is falsified."""
    return ["salver: sat = the explanation is not robust (falsified), unsat = verified", *facts.lines()]
