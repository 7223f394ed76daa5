"""Facts and judged runs of single instances, for pictures."""

from __future__ import annotations

from salver.explain.gradient import Gradient
from salver.families.instance import Facts
from salver.families.other_class import SameMap
from salver.judge.judgement import JudgedRun, Judgement, Outcome, WitnessVerdict
from salver.runners.answers import Claim, RunRecord
from salver.spec.truth import Truth
from salver.supervise.finished import Termination


def facts_of(index: int, network: str, **changes) -> Facts:
    given_ = {"epsilon": 0.1, "question": SameMap(delta=0.1, targets=(1,)), **changes}
    return Facts(
        family="vg_box", network=network, dataset="d", index=index, label=0, explanation=Gradient(),
        clip=(0.0, 1.0), input_shape=(2,), logits=2, saliencies=2, expected=Truth.UNKNOWN,
        **given_,
    )  # fmt: skip


def judged_of(name: str, solver: str, outcome: Outcome = Outcome.FALSIFIED, worth=WitnessVerdict.CORRECT):
    run = RunRecord(
        key=f"{solver}/{name}", suite="s", instance_id=name, instance=name, family="vg_box", solver=solver,
        solver_version="1", repetition=0, limit_s=1, termination=Termination.EXITED, exit_code=0, signal=None,
        wall_s=0, cpu_s=0, memory_mb=0, claim=Claim.SAT, reason="", witness=f"cex/{name}",
    )  # fmt: skip
    return JudgedRun(run=run, judgement=Judgement(key=run.key, outcome=outcome, witness=worth))
