"""Checks the proofs that solvers left behind a run, once each: a verdict is kept beside the run."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pydantic import ValidationError

from salver import proofs
from salver.core.confined import MOST_STORED_BYTES, read_inside, sha256_inside, write_inside
from salver.core.records import Record
from salver.families.instance import Instance
from salver.judge.judgement import ProofVerdict
from salver.judge.loaded import StoredRun
from salver.judge.sealed import sealed, unsealed
from salver.nets.onnx.file import MOST_BYTES
from salver.proofs.bounded import PROOF_FILE, CheckReply
from salver.proofs.worker import CheckerProcess
from salver.runners.answers import Claim

STORE = "proofs.json"
MOST_STORE_BYTES = 64 << 20


class CheckedProof(Record):
    """What the checker said of one run's proof. Bytes as stored (compressed), wall seconds of checking.

    `subject` is a hash of the proof's bytes, of the instance's network and query and of the checker's source:
    a verdict about anything else, or by a checker that was corrected since, does not stand.
    """

    subject: str
    verdict: ProofVerdict
    detail: str = ""
    bytes: int = 0
    seconds: float = 0.0


def check_proofs(run: StoredRun) -> dict[str, CheckedProof]:
    """By `RunRecord.key`, for every `unsat` with a proof.

    What this checker said before stands, where this user's salver has stored it (`sealed`).
    """
    known, instances, set_path = stored_proofs(run.folder), run.instances.by_id, run.instances.folder
    checker = _source_of_checker()
    found: dict[str, CheckedProof] = {}
    process = CheckerProcess()
    for record in run.records:
        instance = instances.get(record.instance_id)
        if record.claim is not Claim.UNSAT or instance is None:
            continue
        name = f"{record.logs or f'logs/{record.key}'}/files/{PROOF_FILE}.gz"
        try:
            content = read_inside(run.folder, name, MOST_STORED_BYTES)
        except OSError:
            continue
        path = run.folder / name
        query = "".join(_digest(set_path, file) for file in (instance.onnx, f"{instance.vnnlib}.gz"))
        subject = hashlib.sha256(checker + query.encode() + content).hexdigest()
        before = known.get(record.key)
        stands = before is not None and before.subject == subject
        if before is None or not stands:
            before = _check(process, path, instance, set_path, subject)
        found[record.key] = before
    process.close()
    if found != known:
        text = {key: checked.model_dump(mode="json") for key, checked in found.items()}
        if (sealed_text := sealed(json.dumps(text, indent=1))) is not None:
            write_inside(run.folder, STORE, sealed_text)
    return found


def _digest(folder: Path, name: str) -> str:
    """Hash of a file of the set; empty where it cannot be read, so that the proof is checked again."""
    try:
        return sha256_inside(folder, name, MOST_BYTES)
    except OSError:
        return ""


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
    CheckReply.ACCEPTED: ProofVerdict.CHECKED,
    CheckReply.REJECTED: ProofVerdict.REJECTED,
    CheckReply.UNREADABLE: ProofVerdict.REJECTED,
    CheckReply.UNCHECKED: ProofVerdict.UNCHECKED,
}


def stored_proofs(run_dir: Path) -> dict[str, CheckedProof]:
    """What was checked before, by `RunRecord.key`; nothing where there is no readable store."""
    try:
        stored = unsealed(read_inside(run_dir, STORE, MOST_STORE_BYTES))
        return {key: CheckedProof.model_validate(value) for key, value in stored.items()}
    except (OSError, ValueError, ValidationError, AttributeError, RecursionError):
        return {}
