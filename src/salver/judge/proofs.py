"""Checks the proofs that solvers left behind a run, once each: a verdict is kept beside the run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from salver import proofs
from salver.confined import MOST_STORED_BYTES, read_inside, write_inside
from salver.model import Claim, Instance, ProofVerdict, Record, RunRecord
from salver.proofs.bounded import PROOF_FILE, Answer
from salver.proofs.worker import CheckerProcess

STORE = "proofs.json"
MOST_STORE_BYTES = 64 << 20


class CheckedProof(Record):
    """What the checker said of one run's proof. Bytes as stored (compressed), wall seconds of checking.

    `subject` is a hash of the proof's bytes and of the checker's source: a verdict about another proof, or by
    a checker that was mended since, does not stand.
    """

    subject: str
    verdict: ProofVerdict
    detail: str = ""
    bytes: int = 0
    seconds: float = 0.0


def check_proofs(
    records: Sequence[RunRecord], instances: Mapping[str, Instance], set_path: Path, run_dir: Path
) -> dict[str, CheckedProof]:
    """By `RunRecord.key`, for every `unsat` with a proof. What this checker said before stands."""
    known = stored_proofs(run_dir)
    checker = _source_of_checker()
    found: dict[str, CheckedProof] = {}
    process = CheckerProcess()
    for record in records:
        instance = instances.get(record.instance_id)
        if record.claim is not Claim.UNSAT or instance is None:
            continue
        name = f"{record.logs or f'logs/{record.key}'}/files/{PROOF_FILE}.gz"
        try:
            content = read_inside(run_dir, name, MOST_STORED_BYTES)
        except OSError:
            continue
        path = run_dir / name
        subject = hashlib.sha256(checker + content).hexdigest()
        before = known.get(record.key)
        stands = before is not None and before.subject == subject
        if before is None or not stands:
            before = _check(process, path, instance, set_path, subject)
        found[record.key] = before
    process.close()
    if found != known:
        text = {key: checked.model_dump(mode="json") for key, checked in found.items()}
        write_inside(run_dir, STORE, json.dumps(text, indent=1) + "\n")
    return found


def _source_of_checker() -> bytes:
    sources = sorted(Path(proofs.__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).digest()


def _check(
    process: CheckerProcess, path: Path, instance: Instance, set_path: Path, subject: str
) -> CheckedProof:
    outcome = process.check(set_path / instance.onnx, set_path / f"{instance.vnnlib}.gz", path)
    return CheckedProof(
        subject=subject,
        verdict=_VERDICTS[outcome.answer],
        detail=outcome.detail,
        bytes=path.stat().st_size,
        seconds=round(outcome.seconds, 3),
    )


_VERDICTS = {
    Answer.ACCEPTED: ProofVerdict.CHECKED,
    Answer.REJECTED: ProofVerdict.REJECTED,
    Answer.UNREADABLE: ProofVerdict.REJECTED,
    Answer.UNCHECKED: ProofVerdict.UNCHECKED,
}


def stored_proofs(run_dir: Path) -> dict[str, CheckedProof]:
    """What was checked before, by `RunRecord.key`; nothing where there is no readable store."""
    try:
        stored = json.loads(read_inside(run_dir, STORE, MOST_STORE_BYTES))
        return {key: CheckedProof.model_validate(value) for key, value in stored.items()}
    except (OSError, ValueError, ValidationError, AttributeError, RecursionError):
        return {}
