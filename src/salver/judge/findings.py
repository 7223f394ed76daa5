"""What a reader must know of judged runs: who errs, which instances are in doubt, which answers clash."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from salver.core.records import Record
from salver.judge.judgement import Consistency, JudgedRun, Judgement, Outcome, ProofVerdict, WitnessVerdict
from salver.judge.verdicts import DECIDED, answered
from salver.runners.answers import Claim
from salver.spec.truth import Evidence, Truth, in_words


class Disagreement(Record):
    """One instance on which answers clash with each other, the expected verdict or the true gradient."""

    suite: str
    family: str
    instance_id: str
    instance: str
    sat: tuple[str, ...]
    unsat: tuple[str, ...]
    wrong: tuple[str, ...]
    truth: Truth
    detail: str


def disagreements(judged: Sequence[JudgedRun]) -> list[Disagreement]:
    """Instances with both answers given in time, or with any answer not consistent; by suite and name."""
    groups: dict[str, list[JudgedRun]] = defaultdict(list)
    for run in judged:
        if run.run.claim in DECIDED and answered(run.run):
            groups[run.run.instance_id].append(run)
    found = [_disagreement(group) for group in groups.values()]
    return sorted((d for d in found if d is not None), key=lambda d: (d.suite, d.instance, d.instance_id))


def _disagreement(group: list[JudgedRun]) -> Disagreement | None:
    def solvers(chosen: Iterable[JudgedRun]) -> tuple[str, ...]:
        return tuple(sorted({run.run.solver for run in chosen}))

    sat = solvers(run for run in group if run.run.claim is Claim.SAT)
    unsat = solvers(run for run in group if run.run.claim is Claim.UNSAT)
    clashing = [run for run in group if run.judgement.consistency is not Consistency.CONSISTENT]
    if not (sat and unsat) and not clashing:
        return None
    first = group[0].run
    told = {f"{run.run.solver}: {run.judgement.detail}" for run in clashing if run.judgement.detail}
    return Disagreement(
        suite=first.suite,
        family=first.family,
        instance_id=first.instance_id,
        instance=first.instance,
        sat=sat,
        unsat=unsat,
        wrong=solvers(run for run in group if run.judgement.outcome is Outcome.WRONG),
        truth=group[0].judgement.truth,
        detail="; ".join(sorted(told)),
    )


def wrong_answers(judged: Sequence[JudgedRun]) -> list[str]:
    """Every wrong answer with its solver and instance, by solver and instance; repetitions once.

    `SOLVER on INSTANCE: says verified, expected falsified (planted)`; what the judge found follows where it
    is something else than the expected verdict.
    """
    return list(dict.fromkeys(_named(run) for run in sorted(filter(_wrong, judged), key=_order)))


def doubts(judged: Sequence[JudgedRun]) -> list[str]:
    """Instances whose expected verdict is refuted: the fault may lie with the instance, not with a solver.

    By a correct witness where `unsat` is expected, or by an accepted proof where `sat` is and nobody has a
    correct witness.
    """
    groups: dict[tuple[str, str], list[JudgedRun]] = defaultdict(list)
    refuted = {(run.run.suite, run.run.instance) for run in judged if _refutes(run.judgement)}
    for run in judged if refuted else ():
        known = run.judgement.evidence is not Evidence.UNKNOWN
        if known and (run.run.suite, run.run.instance) in refuted:
            groups[run.run.suite, run.run.instance].append(run)
    found = []
    for (_, instance), group in sorted(groups.items()):
        told = f"expected {in_words(group[0].judgement.truth)} ({group[0].judgement.evidence})"
        witnesses = _solvers(group, lambda run: run.judgement.witness is WitnessVerdict.CORRECT)
        provers = _solvers(group, lambda run: run.judgement.proof is ProofVerdict.CHECKED)
        truth = group[0].judgement.truth
        if truth is Truth.UNSAT and witnesses:
            found.append(f"{instance}: {told}, yet {witnesses} has a correct witness")
        if truth is Truth.SAT and provers and not witnesses:
            found.append(f"{instance}: {told}, yet a proof by {provers} was accepted")
    return found


def _named(run: JudgedRun) -> str:
    record, judgement = run.run, run.judgement
    known = "" if judgement.evidence is Evidence.UNKNOWN else f" ({judgement.evidence})"
    parts = [f"says {in_words(record.claim)}"]
    if judgement.truth is not Truth.UNKNOWN and judgement.truth != record.claim.value:
        truth = in_words(judgement.truth)
        parts.append(f"expected {truth}{known}" if known else f"the truth is {truth}")
    if record.claim is Claim.SAT or not known:
        parts.append(judgement.detail)
    return f"{record.solver} on {record.instance}: {', '.join(filter(None, parts))}"


def _refutes(judgement: Judgement) -> bool:
    if judgement.truth is Truth.UNSAT:
        return judgement.witness is WitnessVerdict.CORRECT
    return judgement.truth is Truth.SAT and judgement.proof is ProofVerdict.CHECKED


def _wrong(run: JudgedRun) -> bool:
    return run.judgement.outcome is Outcome.WRONG


def _order(run: JudgedRun) -> tuple[str, str, str, int]:
    return run.run.solver, run.run.suite, run.run.instance, run.run.repetition


def _solvers(group: Sequence[JudgedRun], chosen: Callable[[JudgedRun], bool]) -> str:
    return ", ".join(sorted({run.run.solver for run in group if chosen(run)}))
