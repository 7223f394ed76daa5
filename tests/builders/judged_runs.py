"""A small judged run of three solvers, as the report gets it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from salver.explain.gradient import Gradient
from salver.families.instance import Facts, Instance
from salver.families.other_class import SameMap
from salver.families.questions import TopKChanges
from salver.judge.judged import Judged
from salver.judge.judgement import JudgedRun, WitnessVerdict
from salver.judge.loaded import LoadedSet
from salver.judge.scoring import results_frame
from salver.judge.verdicts import judge
from salver.judge.witness import Replay
from salver.report.figures.background import drawn_here
from salver.report.page.material import Material
from salver.report.results import results
from salver.report.write import shown_in_plots, write_report
from salver.run.loaded import Coverage, LoadedRun
from salver.run.manifest import RunManifest, RunOptions
from salver.runners.answers import Claim, RunRecord
from salver.spec.truth import Evidence, Truth
from salver.supervise.finished import Termination

ODD = "<i>50% & a_b|c</i>"


QUESTIONS = {"vg_box": SameMap(delta=0.5, targets=(1,)), "topk_rank": TopKChanges(k=1, inside=(0,), size=2)}


def instance(name: str, family: str, expected: Truth) -> Instance:
    facts = Facts(
        family=family, network="n", dataset="d", index=0, label=0, explanation=Gradient(),
        question=QUESTIONS[family], epsilon=0.5, input_shape=(2,), logits=2, saliencies=2, expected=expected,
        evidence=Evidence.UNKNOWN if expected is Truth.UNKNOWN else Evidence.ENUMERATED,
    )  # fmt: skip
    return Instance(
        id=name, suite="quick", name=name, onnx=f"onnx/{family}.onnx", vnnlib=f"vnnlib/{name}.vnnlib",
        vnnlib2=f"vnnlib2/{name}.vnnlib", network="networks/n.onnx", timeout=20.0, operators=(), facts=facts,
    )  # fmt: skip


INSTANCES = {
    i.id: i
    for i in (
        instance("box-1", "vg_box", Truth.UNSAT),
        instance("box-2", "vg_box", Truth.SAT),
        instance("rank-1", "topk_rank", Truth.UNKNOWN),
    )
}


def run(solver: str, name: str, said: Claim | Termination, wall_s: float, repetition: int = 0) -> RunRecord:
    ended = said if isinstance(said, Termination) else Termination.EXITED
    facts = INSTANCES[name].facts
    assert facts is not None
    return RunRecord(
        key=f"{solver}/{name}/{repetition}", suite="quick", instance_id=name, instance=name,
        family=facts.family, solver=solver, solver_version="1.0", repetition=repetition,
        limit_s=20.0, termination=ended, exit_code=0, signal=None, wall_s=wall_s, cpu_s=wall_s,
        memory_mb=123.4, claim=said if isinstance(said, Claim) else Claim.NONE, reason="",
        witness="((X_0 0.5) (X_1 0.5))" if said is Claim.SAT else None, logs=f"logs/{name} {repetition}",
    )  # fmt: skip


def judged() -> list[JudgedRun]:
    records = [
        run("crown", "box-1", Claim.UNSAT, 0.123456),
        run("crown", "box-2", Claim.UNKNOWN, 3.0),
        run("crown", "rank-1", Claim.UNSAT, 12.5),
        run("falsify", "box-1", Termination.WALLTIME, 20.0123),
        run("falsify", "box-2", Claim.SAT, 0.0551),
        run("falsify", "rank-1", Claim.SAT, 1.2345),
        run(ODD, "box-1", Claim.SAT, 0.5),
        run(ODD, "box-2", Termination.MEMORY, 7.0),
        run(ODD, "rank-1", Termination.UNSUPPORTED, 0.0),
    ]
    replays = {
        "falsify/box-2/0": Replay(verdict=WitnessVerdict.CORRECT, gradient="agrees"),
        "falsify/rank-1/0": Replay(verdict=WitnessVerdict.CORRECT, gradient="agrees"),
        f"{ODD}/box-1/0": Replay(verdict=WitnessVerdict.INVALID, detail="X lies 0.5 outside the box"),
    }
    judgements = judge(records, INSTANCES, replays)
    return [JudgedRun(run=r, judgement=j) for r, j in zip(records, judgements, strict=True)]


def loaded(
    folder: Path,
    rows: Sequence[JudgedRun],
    instances: Mapping[str, Instance] = INSTANCES,
    coverage: Coverage | None = None,
    set_folder: Path | None = None,
    **manifest: Any,
) -> Judged[LoadedRun]:
    """A judged run in a folder, made as its manifest says; every job is there unless `coverage` is given."""
    made = {
        "suite": "quick", "title": "<script>alert(1)</script>", "version": "1", "seed": 7, "recipe": "",
        "salver": "0", "instance_set": "instances/quick", "solvers": {}, "unavailable": {},
        "options": RunOptions(), "started": "2026-01-01T00:00:00", "machine": {"cores": 2}, **manifest,
    }  # fmt: skip
    records = [one.run for one in rows]
    everything = coverage or Coverage(len(records), len(records))
    known = LoadedSet(set_folder or folder, instances)
    return Judged(LoadedRun(folder, known, records, RunManifest(**made), everything), rows, {})


def reported(
    found: Judged[LoadedRun],
    material: Material | None = None,
    profile: str = "vnncomp2026",
    neurons: Mapping[str, int] | None = None,
) -> Path:
    """Writes the report of a judged run; returns the page."""
    frame = results_frame(found.rows, found.run.instances.by_id, neurons)
    worked_out = results(found, profile, frame)
    return write_report(worked_out, material or Material(), partial(drawn_here, shown_in_plots(frame)))
