"""A stored run of any size, as if solvers had been at work: instance set, records, logs and witnesses.

Everything in it is real but the measured times: the networks run, the witnesses replay.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from salver import __version__
from salver.explain.gradient import Gradient
from salver.explain.unroll import logit_combination, unroll
from salver.families.conditions import saliency_box, some_class_beats
from salver.families.instance import Facts, Instance, Manifest
from salver.families.other_class import SameMap
from salver.families.question import others
from salver.judge.machine import Machine
from salver.nets.network import Network, lower
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.torch_bridge import from_torch
from salver.run.manifest import RunManifest, RunOptions
from salver.runners.answers import Claim, RunRecord
from salver.spec.property import Property
from salver.spec.truth import Evidence, Truth
from salver.spec.write import to_vnnlib1
from salver.supervise.finished import Termination

SUITE = "load"
SIDE, CLASSES, POINTS, EPSILON, DELTA = 8, 10, 200, 0.3, 1.5
SOLVERS = tuple(f"solver-{letter}" for letter in "abcdefghij")
SIZES = (16, 32, 64)
_LIMIT_S = 60.0


@dataclass(frozen=True)
class ExplainedPoint:
    """An explained point: its files, its label, and a violating point in the box where one was found."""

    number: int
    label: int
    size: int
    graph: str
    witness: str | None


def synthetic_run(root: Path, records: int, seed: int = 0, points: int = POINTS) -> Path:
    """Writes the set `instances/load` and the run `reports/load-<records>` below `root`; returns the run.

    Args:
        root: a folder that becomes a salver project.
        records: how many; one per solver and instance.
        points: explained points, which the instances take in turn.
    """
    generator = np.random.default_rng(seed)
    for name in ("benchmarks", "generators", "runners"):
        (root / name).mkdir(parents=True, exist_ok=True)
    set_path, run_dir = root / "instances" / SUITE / "1-s0", root / "reports" / f"{SUITE}-{records}"
    made = _points(set_path, points, generator)
    count = -(-records // len(SOLVERS))
    instances = [_instance(made[number % len(made)], number) for number in range(count)]
    manifest = Manifest(
        suite=SUITE, version="1", seed=seed, title="Synthetic", description="", salver=__version__,
        recipe="synthetic", instances=tuple(instances),
    )  # fmt: skip
    (set_path / "manifest.json").write_text(manifest.model_dump_json())
    _write_run(run_dir, records, made, instances, generator)
    return run_dir


def _points(set_path: Path, count: int, generator: np.random.Generator) -> list[ExplainedPoint]:
    for name in ("onnx", "networks", "vnnlib"):
        (set_path / name).mkdir(parents=True, exist_ok=True)
    classifiers = {size: _classifier(size, generator) for size in SIZES}
    for size, classifier in classifiers.items():
        (set_path / f"networks/net-{size}.onnx").write_bytes(to_bytes(to_model(classifier)))
    return [
        _point(
            set_path, number, SIZES[number % len(SIZES)], classifiers[SIZES[number % len(SIZES)]], generator
        )
        for number in range(count)
    ]


def _classifier(size: int, generator: np.random.Generator) -> Network:
    layers: list[torch.nn.Module] = []
    for wide, narrow in pairwise((SIDE * SIDE, size, size, CLASSES)):
        layer = torch.nn.Linear(wide, narrow)
        weight = generator.normal(0.0, 2.0 / np.sqrt(wide), (narrow, wide))
        layer.weight.data = torch.tensor(weight, dtype=torch.float32)
        layers += [layer, torch.nn.ReLU()]
    return from_torch(torch.nn.Sequential(*layers[:-1]), SIDE * SIDE)


def _point(
    set_path: Path, number: int, size: int, classifier: Network, generator: np.random.Generator
) -> ExplainedPoint:
    x = generator.uniform(0.0, 1.0, SIDE * SIDE).astype(np.float32).astype(np.float64)
    label = int(lower(classifier).evaluate(x)[0][0].argmax())
    graph = f"net-{size}-g{label}"
    network = unroll(classifier, logit_combination(CLASSES, label, None), "raw")
    (set_path / f"onnx/{graph}.onnx").write_bytes(to_bytes(to_model(network)))
    program = lower(network)
    reference = program.evaluate(x)[0][0][CLASSES:]
    low, high = np.clip(x - EPSILON, 0.0, 1.0), np.clip(x + EPSILON, 0.0, 1.0)
    low, high = (side.astype(np.float32).astype(np.float64) for side in (low, high))
    others = [k for k in range(CLASSES) if k != label]
    # Every other condition is too strict for the samples, so that both answers occur.
    delta = DELTA if number % 2 else DELTA / 100
    clauses = (*saliency_box(CLASSES, reference, delta), *some_class_beats(label, others))
    prop = Property(low, high, clauses, network.output_size)
    (set_path / f"vnnlib/point-{number}.vnnlib.gz").write_bytes(
        gzip.compress(to_vnnlib1(prop).encode(), mtime=0)
    )
    samples = generator.uniform(low, high, (2000, low.size)).astype(np.float32).astype(np.float64)
    outputs = program.evaluate(samples)[0]
    margins = np.array([float(prop.margin(row)) for row in outputs])
    best = int(margins.argmax())
    pairs = " ".join(f"(X_{i} {value!r})" for i, value in enumerate(samples[best].tolist()))
    return ExplainedPoint(number, label, size, graph, f"({pairs})" if margins[best] > 1e-3 else None)


def _instance(point: ExplainedPoint, number: int) -> Instance:
    family = "vg_box" if point.number % 2 else "topk_rank"
    facts = Facts(
        family=family, network=f"net-{point.size}", dataset="synthetic",
        index=number, label=point.label, explanation=Gradient(logit=point.label),
        question=SameMap(delta=DELTA, targets=others(point.label, CLASSES)), epsilon=EPSILON,
        clip=(0.0, 1.0), input_shape=(1, SIDE, SIDE), logits=CLASSES, saliencies=SIDE * SIDE,
        expected=Truth.SAT if point.witness else Truth.UNKNOWN,
        evidence=Evidence.PLANTED if point.witness else Evidence.UNKNOWN,
    )  # fmt: skip
    name = f"net-{point.size}-g{point.label}-i{number}-e{EPSILON:g}-d{DELTA:g}"
    return Instance(
        id=f"{number:016x}", suite=SUITE, name=name, onnx=f"onnx/{point.graph}.onnx",
        vnnlib=f"vnnlib/point-{point.number}.vnnlib", vnnlib2=f"vnnlib2/point-{point.number}.vnnlib",
        network=f"networks/net-{point.size}.onnx", timeout=_LIMIT_S, operators=(), facts=facts,
    )  # fmt: skip


def _write_run(
    run_dir: Path,
    records: int,
    points: list[ExplainedPoint],
    instances: list[Instance],
    generator: np.random.Generator,
) -> None:
    for name in ("logs", "cex"):
        (run_dir / name).mkdir(parents=True, exist_ok=True)
    shared = run_dir / "logs" / "shared"
    shared.mkdir(exist_ok=True)
    command = {"argv": ["solver", "--timeout", "60", "query.vnnlib"], "environment": {"OMP_NUM_THREADS": "1"}}
    (shared / "command.json.gz").write_bytes(gzip.compress(json.dumps(command).encode(), mtime=0))
    for stream in ("stdout", "stderr"):
        text = f"{stream} of a solver\n" + "bounds: 0.25 ...\n" * 40
        (shared / f"{stream}.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    for point in points:
        if point.witness:
            (run_dir / f"cex/point-{point.number}.txt").write_text(point.witness)
    with (run_dir / "events.jsonl").open("w") as stream:
        for number in range(records):
            position, solver = divmod(number, len(SOLVERS))
            point = points[position % len(points)]
            record = _record(number, point, instances[position], solver, generator)
            stream.write(record.model_dump_json() + "\n")
    manifest = RunManifest(
        suite=SUITE, title="Synthetic", version="1", seed=0, recipe="synthetic", salver=__version__,
        instance_set=f"instances/{SUITE}/1-s0", solvers=dict.fromkeys(SOLVERS, "1.0"), unavailable={},
        options=RunOptions(), started="2026-01-01T00:00:00+00:00", machine=Machine(cores=2),
    )  # fmt: skip
    (run_dir / "manifest.json").write_text(manifest.model_dump_json())


def _record(
    number: int, point: ExplainedPoint, instance: Instance, solver: int, generator: np.random.Generator
) -> RunRecord:
    wall = float(np.exp(generator.normal(solver / 3 - 1, 1.2))) * point.size / 16
    luck = generator.random()
    ended, claim = Termination.EXITED, Claim.SAT if point.witness else Claim.UNSAT
    if wall > _LIMIT_S:
        wall, ended, claim = _LIMIT_S + 0.02, Termination.WALLTIME, Claim.NONE
    elif luck < 0.01:
        ended, claim = (Termination.CRASHED if luck < 0.005 else Termination.MEMORY), Claim.NONE
    elif luck < 0.08:
        claim = Claim.UNKNOWN
    elif luck < 0.081:
        claim = Claim.UNSAT
    key = f"{number:020x}"
    return RunRecord(
        key=key, suite=SUITE, instance_id=instance.id, instance=instance.name, family=instance.family,
        solver=SOLVERS[solver], solver_version="1.0", repetition=0, limit_s=_LIMIT_S, termination=ended,
        exit_code=0 if ended is Termination.EXITED else None, signal=None, wall_s=round(wall, 6),
        cpu_s=round(wall * 0.97, 6), memory_mb=round(float(generator.uniform(40, 800)), 3), claim=claim,
        reason="" if claim is not Claim.NONE else "no answer",
        witness=f"cex/point-{point.number}.txt" if claim is Claim.SAT else None, logs="logs/shared",
        started="2026-01-01T00:00:00.000+00:00", host="synthetic",
    )  # fmt: skip
