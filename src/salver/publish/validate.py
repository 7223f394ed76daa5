"""Re-reads an instance set with everything a receiver would use, and says what does not fit.

Checksums; ONNX Runtime against the reference evaluation and against the original network's gradient by
automatic differentiation, and on many rows at once; our reader on both VNN-LIB versions, compared clause by
clause; the `vnnlib` package on the 2.0 text, compared clause by clause with ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import vnnlib

from salver.core.confined import list_inside, read_inside, unpack_inside
from salver.core.errors import SalverError, plain_reason
from salver.explain.reference import POINTS, differ
from salver.families.instance import Instance, Manifest, refuse_twins
from salver.families.instance_set import checksums, read_manifest, refuse_wrong_instance
from salver.judge.loaded import read_set
from salver.judge.stated import networks_of, values_at
from salver.nets.network import Network, evaluate
from salver.nets.onnx.file import files_of, load_model
from salver.nets.onnx.reader import read_onnx
from salver.nets.runtime import Runtime, with_free_batch
from salver.run.kept_set import refuse_other_ids
from salver.spec import Atom, Ball, Property, parse_vnnlib, to_vnnlib1
from salver.spec.read import MOST_BYTES as MOST_TEXT_BYTES
from salver.zoo.networks import pinned

MOST_LISTED_BYTES = 64 << 20
"""Largest list of files or instances of a set."""


@dataclass(frozen=True)
class Complaint:
    """Something that does not fit: which file, and what."""

    file: str
    what: str


def validate(folder: Path) -> tuple[Manifest, list[Complaint]]:
    """Checks a whole set; an empty list means that everything fits.

    Raises:
        SalverError: the folder holds no readable manifest.
    """
    manifest = read_manifest(folder)
    complaints = [*_files(folder, manifest), *_ids(folder, manifest), *pins(folder, manifest)]
    graphs: dict[str, Network] = {}
    for instance in manifest.instances:
        try:
            if instance.onnx not in graphs:
                graphs[instance.onnx] = read_onnx(folder / instance.onnx)
                complaints += _graph(folder, instance, graphs[instance.onnx])
            complaints += _texts(folder, instance, graphs[instance.onnx])
        except SalverError as error:
            complaints.append(Complaint(instance.name, str(error)))
    return manifest, complaints


def validate_given(folder: Path, manifest: Manifest) -> list[Complaint]:
    """Checks a set of which nothing is known but its files: texts are read, networks run and fit them."""
    given, complaints = read_set(folder), [*_ids(folder, manifest)]
    for one in manifest.instances:
        try:
            instance = given[one.id]
            query = instance.stated
            middle = {
                n: np.zeros(tensor.size) for n, tensor in enumerate(query.tensors) if tensor.role == "input"
            }
            dict(values_at(query, networks_of(instance, query), middle))
        except Exception as error:  # ONNX Runtime raises a dozen unrelated types
            complaints.append(Complaint(one.name, " ".join(str(error).split())[:300]))
    return complaints


def validated_json(folder: Path, instances: int, complaints: list[Complaint]) -> str:
    """What `validate` found, for programs."""
    found = {"folder": str(folder), "instances": instances, "valid": not complaints}
    return json.dumps({**found, "complaints": [asdict(complaint) for complaint in complaints]}, indent=1)


def _files(folder: Path, manifest: Manifest) -> Iterator[Complaint]:
    try:
        listed = _lines(folder, "SHA256SUMS")
        present = checksums(folder).splitlines()
    except FileNotFoundError:
        yield Complaint("SHA256SUMS", "is missing")
        return
    except (OSError, UnicodeDecodeError) as error:
        name = error.filename if isinstance(error, OSError) else None
        yield Complaint(str(name or "SHA256SUMS"), f"cannot be checked ({plain_reason(error)})")
        return
    for name, kind in sorted(list_inside(folder)):
        if kind != "file":
            yield Complaint(name, f"is {kind}, not a file")
    for line in sorted(set(listed) ^ set(present)):
        digest, _, name = line.partition("  ")
        side = "listed" if line in listed else "found"
        yield Complaint(name, f"checksum {digest[:12]} is {side} but not on the other side")
    rows = [f"{i.onnx},{i.vnnlib},{i.timeout:g}" for i in manifest.instances]
    try:
        told = _lines(folder, "instances.csv")
    except (OSError, UnicodeDecodeError):
        told = []
    if told != rows:
        yield Complaint("instances.csv", "does not list the manifest's instances in their order")
    stems = {Path(i.vnnlib).stem for i in manifest.instances}
    if len(stems) != len(manifest.instances):
        yield Complaint("manifest.json", "file stems are not unique")


def _ids(folder: Path, manifest: Manifest) -> Iterator[Complaint]:
    """Every instance is there once, under the hash of its network and query; so a run takes them."""
    try:
        refuse_twins(manifest.instances)
        refuse_other_ids(folder, manifest.instances, folder)
    except SalverError as error:
        yield Complaint("manifest.json", error.what)
    except OSError:
        return  # of a file that is missing the others complain


def _lines(folder: Path, name: str) -> list[str]:
    return read_inside(folder, name, MOST_LISTED_BYTES).decode().splitlines()


def pins(folder: Path, manifest: Manifest) -> Iterator[Complaint]:
    """Networks of the zoo whose training came out differently here than where they were pinned."""
    for network in sorted({instance.network for instance in manifest.instances}):
        key, seed = _key_and_seed(Path(network).stem, manifest.seed)
        pin = pinned(key, seed)
        if pin is not None and read_onnx(folder / network).sha256() != pin:
            yield Complaint(network, "was trained to other weights than the pinned ones on this platform")


def _key_and_seed(stem: str, seed: int) -> tuple[str, int]:
    """Zoo key and training seed of a network's file: `key`, or `key-s<seed>` where a suite has several."""
    named = re.fullmatch(r"(.+)-s(\d+)", stem)
    return (named[1], int(named[2])) if named else (stem, seed)


def _graph(folder: Path, instance: Instance, graph: Network) -> Iterator[Complaint]:
    """ONNX Runtime, the reference evaluation and autograd on the original network at random points."""
    facts = instance.known
    for path in (instance.onnx, instance.network):
        if len(files_of(folder / path)) > 1:
            yield Complaint(path, "keeps weights in other files")
    model = load_model(folder / instance.onnx)
    runtime = Runtime(model.SerializeToString())
    low, high = facts.spread
    rng = np.random.default_rng(0)
    x = rng.uniform(low, high, (POINTS, graph.input_size)).astype(np.float32)
    original = read_onnx(folder / instance.network)
    run = np.stack([runtime.outputs(row) for row in x])
    evaluated = evaluate(graph, x.astype(np.float64))
    if differ(run, evaluated):
        yield Complaint(instance.onnx, "ONNX Runtime and the reference evaluation differ")
    if (fixed := _fixes_batch(model, x, run)) is not None:
        yield Complaint(instance.onnx, fixed)
    expected = facts.expected_outputs(original, x)
    if expected.shape != run.shape or differ(run, expected):
        yield Complaint(instance.onnx, f"is not the gradient network of {instance.network}")
        return
    try:
        refuse_wrong_instance(model.SerializeToString(), graph, original, facts)
    except SalverError as error:
        yield Complaint(instance.onnx, error.what)


def _fixes_batch(
    model: onnx.ModelProto, x: np.ndarray[Any, Any], row_by_row: np.ndarray[Any, Any]
) -> str | None:
    """Why verifiers that evaluate many subproblems at once cannot take the graph; None where they can."""
    try:
        together = Runtime(with_free_batch(model).SerializeToString()).rows(x)
    except Exception as error:  # ONNX Runtime raises a dozen unrelated types
        return f"does not take {len(x)} rows at once: {str(error).splitlines()[0][:200]}"
    if together.shape != row_by_row.shape or differ(together, row_by_row):
        return f"gives other values for {len(x)} rows at once than row by row"
    return None


def _texts(folder: Path, instance: Instance, graph: Network) -> Iterator[Complaint]:
    first, second = (_text(folder, f"{name}.gz") for name in (instance.vnnlib, instance.vnnlib2))
    one, two = parse_vnnlib(first, instance.vnnlib), parse_vnnlib(second, instance.vnnlib2)
    if not one.same_query(two):
        yield Complaint(instance.name, "its VNN-LIB 1.0 and 2.0 texts ask different questions")
    if (len(one.input_lower), one.output_count) != (graph.input_size, graph.output_size):
        yield Complaint(instance.name, "its VNN-LIB text does not fit its network")
    body = [line for line in first.splitlines() if not line.startswith(";")]
    if body != to_vnnlib1(one).splitlines():
        yield Complaint(instance.vnnlib, "a bound is not written as an exact binary32 decimal")
    try:
        theirs = _by_package(second, one)
    except (vnnlib.VNNLibException, ValueError) as error:
        yield Complaint(instance.vnnlib2, f"the vnnlib package rejects it: {error}")
        return
    if not theirs.same_query(one):
        yield Complaint(instance.vnnlib2, "the vnnlib package reads another question than we do")


def _text(folder: Path, name: str) -> str:
    try:
        return unpack_inside(folder, name, MOST_TEXT_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        where = str(folder / name)
        raise SalverError(
            f"cannot be read ({plain_reason(error)})", where, "generate the set again"
        ) from error


def _by_package(text: str, ours: Property) -> Property:
    """The query as the `vnnlib` package reads it."""
    lower, upper = np.full(len(ours.input_lower), -np.inf), np.full(len(ours.input_lower), np.inf)
    clauses, ball = [], None
    for assertion in vnnlib.parse_query_string(text).assertions:
        expression: Any = assertion.expr
        if isinstance(getattr(expression, "lhs", None), vnnlib.Plus | vnnlib.Multiply):
            ball = _package_ball(expression)
        elif isinstance(expression, vnnlib.Or):
            clauses.append(tuple(tuple(_conjuncts(part)) for part in expression.args))
        elif expression.lhs.name == "X":
            bound = upper if isinstance(expression, vnnlib.LessEqual) else lower
            bound[expression.lhs.indices[-1]] = expression.rhs.value
        else:
            clauses.append(((_atom(expression),),))
    return Property(lower, upper, tuple(clauses), ours.output_count, ball)


def _package_ball(comparison: Any) -> Ball:
    """The ball whose squares (X_i - c_i) * (X_i - c_i) add up to the left side."""
    total: Any = comparison.lhs
    squares: Any = total.args if type(total) is vnnlib.Plus else [total]
    centre: dict[int, float] = {}
    for square in squares:
        first, second = square.args
        if str(first) != str(second) or first.head.name != "X" or len(first.rest) != 1:
            raise ValueError("a product is no square of X_i - c_i")
        centre[first.head.indices[-1]] = float(first.rest[0].value)
    kind = type(comparison).__name__
    if kind != "LessEqual" or sorted(centre) != list(range(len(squares))):
        raise ValueError("a sum of squares is no ball")
    return Ball(np.array([centre[i] for i in range(len(centre))]), float(comparison.rhs.value))


def _conjuncts(expression: Any) -> list[Atom]:
    parts = expression.args if isinstance(expression, vnnlib.And) else [expression]
    return [_atom(part) for part in parts]


def _atom(comparison: Any) -> Atom:
    relation: Any = "<=" if isinstance(comparison, vnnlib.LessEqual) else ">="
    left = comparison.lhs.indices[-1]
    if isinstance(comparison.rhs, vnnlib.Var):
        return Atom(left, relation, other=comparison.rhs.indices[-1])
    return Atom(left, relation, constant=float(comparison.rhs.value))
