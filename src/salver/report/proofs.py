"""The proofs of a run: one row each, and one sentence about all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from salver.judge.judgement import JudgedRun, ProofVerdict
from salver.judge.proofs import CheckedProof
from salver.runners.answers import Claim

COLUMNS = ("suite", "family", "instance", "solver", "verdict", "bytes", "check_s", "wall_s", "detail")


def proofs_frame(judged: Sequence[JudgedRun], proofs: Mapping[str, CheckedProof]) -> pd.DataFrame:
    """A row per checked proof: stored bytes, seconds to check it, wall seconds of the run that wrote it."""
    rows = [
        (
            run.run.suite,
            run.run.family,
            run.run.instance,
            run.run.solver,
            str(proof.verdict),
            proof.bytes,
            proof.seconds,
            run.run.wall_s,
            proof.detail,
        )
        for run in judged
        if (proof := proofs.get(run.run.key)) is not None
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def proofs_sentence(judged: Sequence[JudgedRun], frame: pd.DataFrame) -> str:
    """How many of the `unsat` are proven, and what the proofs cost; empty where there is no proof."""
    if frame.empty:
        return ""
    claims = sum(run.run.claim is Claim.UNSAT for run in judged)
    accepted = frame[frame["verdict"] == str(ProofVerdict.CHECKED)]
    unchecked = int((frame["verdict"] == str(ProofVerdict.UNCHECKED)).sum())
    rejected = len(frame) - len(accepted) - unchecked
    text = f"proofs: {len(accepted)} accepted and {rejected} rejected of {claims} unsat"
    text += f", {unchecked} not checked within the limits" if unchecked else ""
    if accepted.empty:
        return text
    size, check, wall = (accepted[name].median() for name in ("bytes", "check_s", "wall_s"))
    return f"{text}; medians: {size / 1024:.1f} kB, checked in {check:.2f} s, runs took {wall:.2f} s"
