"""Instances, runs and judgements, as the judge and the report get them."""

from __future__ import annotations

from salver.explain.gradient import Gradient
from salver.families.instance import Facts, Instance
from salver.families.other_class import SameMap
from salver.runners.answers import Claim, RunRecord
from salver.spec.truth import Evidence, Truth
from salver.supervise.finished import Termination


def instance(expected: Truth = Truth.UNKNOWN, family: str = "vg_box") -> Instance:
    facts = Facts(
        family=family, network="n", dataset="d", index=0, label=0, explanation=Gradient(),
        question=SameMap(delta=0.5, targets=(1,)), epsilon=0.5, input_shape=(2,), logits=2, saliencies=2,
        expected=expected, evidence=Evidence.UNKNOWN if expected is Truth.UNKNOWN else Evidence.ENUMERATED,
    )  # fmt: skip
    return Instance(
        id="i", suite="s", name="box", onnx="onnx/i.onnx", vnnlib="vnnlib/i.vnnlib",
        vnnlib2="vnnlib2/i.vnnlib", network="networks/n.onnx", timeout=10.0, operators=(), facts=facts,
    )  # fmt: skip


def run(
    solver: str, claim: Claim, termination: Termination = Termination.EXITED, wall_s: float = 1.0
) -> RunRecord:
    return RunRecord(
        key=solver, suite="s", instance_id="i", instance="box", family="vg_box", solver=solver,
        solver_version="1", repetition=0, limit_s=10.0, termination=termination, exit_code=0, signal=None,
        wall_s=wall_s, cpu_s=wall_s, memory_mb=10.0, claim=claim, reason="",
        witness="((X_0 0.5) (X_1 0.5))" if claim is Claim.SAT else None,
    )  # fmt: skip
