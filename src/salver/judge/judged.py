"""A run judged from what is stored of it; no solver is started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from salver.core.records import sharing_field_names
from salver.judge.judgement import JudgedRun
from salver.judge.loaded import StoredRun
from salver.judge.proofs import CheckedProof, check_proofs
from salver.judge.replays import replay_witnesses
from salver.judge.verdicts import judge

R = TypeVar("R", bound=StoredRun)


@dataclass(frozen=True, eq=False)
class Judged(Generic[R]):
    """A run with its judgements.

    Attributes:
        run: as it was loaded.
        rows: its records with their judgements, in order.
        proofs: checked proofs by key of the record.
    """

    run: R
    rows: Sequence[JudgedRun]
    proofs: Mapping[str, CheckedProof]


def judge_run(run: R) -> Judged[R]:
    """Judges each record; stored witnesses are replayed and stored proofs checked where they are new.

    Raises:
        SalverError: a query cannot be read, or a record names an instance that is not in the set.
    """
    return judge_records(run, [run])


def judge_records(whole: R, runs: Sequence[StoredRun]) -> Judged[R]:
    """Judges the records of a run that is put together from others, each against all.

    Args:
        whole: with all records. runs: those that have the files of records and instances.

    Raises:
        SalverError: as `judge_run`.
    """
    replays = {key: replay for run in runs for key, replay in replay_witnesses(run).items()}
    proofs = {key: proof for run in runs for key, proof in check_proofs(run).items()}
    judgements = judge(whole.records, whole.instances.by_id, replays, proofs)
    rows = [
        sharing_field_names(JudgedRun(run=r, judgement=j))
        for r, j in zip(whole.records, judgements, strict=True)
    ]
    return Judged(whole, rows, proofs)
