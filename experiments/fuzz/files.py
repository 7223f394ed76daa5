"""Damaged suite files, manifests and proofs."""

from __future__ import annotations

import copy
import functools
import gzip
import json
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from experiments.fuzz.mutate import damaged
from experiments.fuzz.queries import refusal
from experiments.soundness.proofs import satisfiable_sibling
from experiments.soundness.queries import draw
from experiments.soundness.stated import read_again
from salver.core.errors import SalverError
from salver.core.project import project_root
from salver.families.instance import Manifest
from salver.families.instance_set import read_manifest
from salver.families.suite import Suite, read_suite
from salver.nets.onnx.writer import to_bytes, to_model
from salver.proofs.checker import check
from salver.proofs.record import QueryFiles, read_proof, write_proof
from salver.proofs.row_sum import RejectedError
from salver.solvers.proving.search import prove
from salver.solvers.query import Budget, Query
from salver.spec import Property
from salver.spec.write import to_vnnlib1
from tests.fake_solvers.runner import fake_instance


def damaged_suite(rng: Random, folder: Path) -> str:
    """Damaged TOML: refused in one line, or a record that survives being printed and read."""
    raw = rng.choice(sorted((project_root() / "benchmarks").glob("*.toml"))).read_bytes()
    path = folder / "suite.toml"
    extra = rng.choice((b"", b"", b'\nkey = "../x"\n', b"\nx = " + b"[" * 3000, b"\nseed = " + b"9" * 5000))
    path.write_bytes(damaged(raw, rng) + extra)
    try:
        suite = read_suite(str(path))
    except SalverError as error:
        return refusal(error)
    assert Suite.model_validate(suite.model_dump()).text == suite.text
    assert set(f"{suite.key}{suite.version}").isdisjoint("/\\\n ")
    assert 0 < suite.timeout < float("inf")
    return "accepted"


@functools.cache
def _manifest() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        instances = tuple(fake_instance(Path(folder), name) for name in ("a", "b-c", "d e"))
    named = [one.model_copy(update={"network": "networks/n.onnx"}) for one in instances]
    whole = Manifest(
        suite="s", version="1", seed=0, title="t", description="", salver="1", recipe="r",
        instances=tuple(named),
    )  # fmt: skip
    return whole.model_dump_json(indent=1).encode()


def damaged_manifest(rng: Random, folder: Path) -> str:
    """Damaged JSON: refused in one line, or every path stays in the set."""
    raw = damaged(_manifest(), rng)
    if rng.random() < 0.3:
        raw = raw.replace(
            b"onnx/a", rng.choice((b"../a", b"/a", b"-rf", b"a/../../b", b"a\\n", b"$(x)", b";ls")), 1
        )
    (folder / "manifest.json").write_bytes(raw)
    try:
        manifest = read_manifest(folder)
    except SalverError as error:
        return refusal(error)
    for one in manifest.instances:
        for name in (one.onnx, one.vnnlib, one.vnnlib2, one.network):
            assert (folder / name).resolve().is_relative_to(folder.resolve()), name
            assert name.isprintable(), name
            assert name[0] != "-", name
    assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest
    return "accepted"


Proven = tuple[Query, list[Any], Property]


@functools.cache
def _proven() -> list[Proven]:
    """Queries with their proofs, and for each a property that a point is known to satisfy."""
    found: list[Proven] = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(20):
            query = read_again(draw(Path(folder), seed).query)
            steps = prove(query, Budget(5))
            sibling = satisfiable_sibling(query, np.random.default_rng(seed))
            if steps and sibling is not None:
                found.append((query, json.loads(json.dumps(steps)), sibling))
            if len(found) == 3:
                break
    return found


def _files(query: Query, prop: Property) -> QueryFiles:
    network = to_bytes(to_model(query.network))
    return QueryFiles(network, to_vnnlib1(prop).encode())


def damaged_proof(rng: Random, folder: Path) -> str:
    """Damaged proofs of satisfiable queries: never accepted, and no other error than the documented ones."""
    query, steps, sibling = rng.choice(_proven())
    path, files = folder / "proof.gz", _files(query, sibling)
    if rng.random() < 0.5:
        steps = copy.deepcopy(steps)
        for _ in range(rng.randint(1, 3)):
            _replace(steps, rng)
        write_proof(path, files, steps)
    else:
        write_proof(path, files, steps)
        raw = gzip.decompress(path.read_bytes())
        head, _, body = raw.partition(b"\n")
        raw = head + b"\n" + damaged(body, rng)
        packed = gzip.compress(raw, 1)
        path.write_bytes(damaged(packed, rng) if rng.random() < 0.1 else packed)
    try:
        read = list(read_proof(path, files))
    except SalverError as error:
        return refusal(error)
    try:
        check(*files.statement, read)
    except RejectedError as error:
        return "rejected" if "\n" not in str(error) else "rejected in several lines"
    raise AssertionError(f"a proof of a satisfiable query is accepted: {json.dumps(read)[:2000]}")


ODD_VALUES: tuple[Any, ...] = (
    0, 1, -1, 2, 10**9, 10**30, 0.5, -0.0, 1e308, 1e-320, float("nan"), True, None, "", "X", [], {}, "close",
    "bound",
)  # fmt: skip


def _replace(value: Any, rng: Random) -> None:
    """Puts something else somewhere in a tree of lists and dictionaries."""
    while isinstance(value, (list, dict)) and value:
        keys: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = rng.choice(keys)
        inner = value[key]
        if not isinstance(inner, (list, dict)) or not inner or rng.random() < 0.15:
            value[key] = rng.choice((*ODD_VALUES, inner, [inner]))
            return
        value = inner
