"""What a report says of a judged run, worked out once for all its parts: page, tables, terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from salver.core.errors import SalverError
from salver.judge.findings import Disagreement, disagreements, doubts, wrong_answers
from salver.judge.judged import Judged
from salver.judge.judgement import JudgedRun, Outcome, ProofVerdict
from salver.judge.proofs import CheckedProof
from salver.judge.robustness import SHOWN, robustness
from salver.judge.scoring import (
    VIRTUAL_BEST,
    Profile,
    find_profile,
    intervals,
    leaderboard,
    results_frame,
    totals,
)
from salver.run.loaded import LoadedRun

PROOF_COLUMNS = ("suite", "family", "instance", "solver", "verdict", "bytes", "check_s", "wall_s", "detail")


@dataclass(frozen=True, eq=False)
class Results:
    """A judged run and what follows from it.

    Attributes:
        judged: the run with its judgements.
        frame: their `results_frame`, with the sizes of the networks.
        profile: how it is scored.
        by_suite, by_family: leaderboards without totals.
    """

    judged: Judged[LoadedRun]
    frame: pd.DataFrame
    profile: Profile
    by_suite: pd.DataFrame
    by_family: pd.DataFrame

    @property
    def run(self) -> LoadedRun:
        """The run that was judged."""
        return self.judged.run

    @cached_property
    def boards(self) -> tuple[pd.DataFrame, ...]:
        """Both leaderboards, each followed by its totals where there is more than one group to sum over."""
        return tuple(with_totals(board, self.profile.name) for board in (self.by_suite, self.by_family))

    @cached_property
    def order(self) -> list[str]:
        """The solvers as the leaderboard has them: the one order of every table and plot."""
        board = self.boards[0]
        last = board[board.iloc[:, 0] == board.iloc[-1, 0]]
        return [str(name) for name in last["solver"] if name != VIRTUAL_BEST]

    @cached_property
    def shares(self) -> pd.DataFrame:
        """Share of the instances that each solver solved; see `scoring.intervals`."""
        return intervals(self.frame)

    @cached_property
    def disagreements(self) -> list[Disagreement]:
        """Instances on which answers clash."""
        return disagreements(self.judged.rows)

    @cached_property
    def doubts(self) -> list[str]:
        """Instances whose expected verdict is refuted, one line each."""
        return doubts(self.judged.rows)

    @cached_property
    def wrong(self) -> list[str]:
        """The wrong answers, one line each."""
        return wrong_answers(self.judged.rows)

    @cached_property
    def proofs(self) -> pd.DataFrame:
        """A row per checked proof; see `proofs_frame`."""
        return proofs_frame(self.judged.rows, self.judged.proofs)

    @cached_property
    def shares_by(self) -> dict[str, pd.DataFrame]:
        """Shares verified and falsified by each key that tells the instances apart; see `robustness`."""
        keys = [key for key in SHOWN if self.frame[key].replace("", None).nunique() > 1]
        return {key: robustness(self.frame, (key,), bool(self.unfinished)) for key in keys}

    @property
    def unfinished(self) -> str:
        """How much of an unfinished run there is, such as `13 of 91 jobs`; empty of a finished one."""
        return self.run.coverage.fraction if self.run.coverage.unfinished else ""


def results(
    judged: Judged[LoadedRun], profile: str = "vnncomp2026", frame: pd.DataFrame | None = None
) -> Results:
    """Works them out.

    Args:
        frame: the `results_frame`, where it is there already.

    Raises:
        SalverError: an unknown profile; no results; a result of an instance that is not in the set.
    """
    chosen = find_profile(profile)
    _refuse_unreportable(judged)
    frame = results_frame(judged.rows, judged.run.instances.by_id) if frame is None else frame
    unfinished = judged.run.coverage.unfinished
    by_suite, by_family = (leaderboard(frame, profile, by, unfinished) for by in ("suite", "family"))
    return Results(judged, frame, chosen, by_suite, by_family)


def _refuse_unreportable(judged: Judged[LoadedRun]) -> None:
    run = judged.run
    if not judged.rows:
        raise SalverError("there are no results to report", str(run.folder), "run some solvers first")
    for one in judged.rows:
        if one.run.instance_id not in run.instances.by_id:
            raise SalverError(
                f"the results name an instance {one.run.instance} that is not in the set",
                one.run.suite,
                "report them with the instance set they were made from",
            )


def with_totals(board: pd.DataFrame, profile: str) -> pd.DataFrame:
    """A leaderboard followed by its totals, where there is more than one group to sum over."""
    if board.empty or board.iloc[:, 0].nunique() < 2:
        return board
    return pd.concat([board, totals(board, profile)], ignore_index=True)


def report_json(found: Results, page: Path | None, by: Sequence[str] | None = None) -> str:
    """What `salver report` prints for programs.

    The leaderboard's rows (`par2` in wall seconds) and every wrong answer, doubt and disagreement. First
    whether the run is unfinished (`13 of 91 jobs`, else null), and what else a reader must know. `report` is
    null where none was written.

    Args:
        by: keys of `robustness`, whose rows are added as `shares`.

    Raises:
        SalverError: as `robustness`.
    """
    covered = found.run.coverage
    told = {
        "unfinished": found.unfinished or None,
        "jobs": {"done": covered.done, "planned": covered.jobs},
        "notices": list(found.run.notices),
        "profile": found.profile.name,
        "leaderboard": json.loads(found.by_suite.to_json(orient="records")),
        "wrong": found.wrong,
        "doubts": found.doubts,
        "disagreements": [{"instance": d.instance, "detail": d.detail} for d in found.disagreements],
        "report": None if page is None else str(page),
    }
    if by is not None:
        shares = robustness(found.frame, by, bool(found.unfinished))
        told["shares"] = json.loads(shares.to_json(orient="records"))
    return json.dumps(told, indent=1)


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
    return pd.DataFrame(rows, columns=list(PROOF_COLUMNS))


def proofs_sentence(found: Results) -> str:
    """How many verified answers are proven, and what the proofs cost; empty where there is no proof."""
    frame = found.proofs
    if frame.empty:
        return ""
    verified = sum(run.judgement.outcome is Outcome.VERIFIED for run in found.judged.rows)
    accepted = frame[frame["verdict"] == str(ProofVerdict.CHECKED)]
    unchecked = int((frame["verdict"] == str(ProofVerdict.UNCHECKED)).sum())
    rejected = len(frame) - len(accepted) - unchecked
    text = f"proofs: {len(accepted)} accepted and {rejected} rejected of {verified} verified"
    text += f", {unchecked} not checked within the limits" if unchecked else ""
    if accepted.empty:
        return text
    size, check, wall = (accepted[name].median() for name in ("bytes", "check_s", "wall_s"))
    return f"{text}; medians: {size / 1024:.1f} kB, checked in {check:.2f} s, runs took {wall:.2f} s"
