"""Checks the proofs that solvers left behind a run, once each: a verdict is kept beside the run."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from salver import proofs
from salver.errors import SalverError
from salver.files import write_atomically
from salver.judge.sealed import sealed, unsealed
from salver.model import Claim, Instance, ProofVerdict, Record, RunRecord
from salver.proofs.record import PROOF_FILE

STORE = "proofs.json"


class CheckedProof(Record):
    """What the checker said of one run's proof. Bytes as stored (compressed), wall seconds of checking.

    `subject` is a hash of the proof's bytes, of the instance's network and query and of the checker's source:
    a verdict about anything else, or by a checker that was mended since, does not stand.
    """

    subject: str
    verdict: ProofVerdict
    detail: str = ""
    bytes: int = 0
    seconds: float = 0.0


def check_proofs(
    records: Sequence[RunRecord], instances: Mapping[str, Instance], set_path: Path, run_dir: Path
) -> dict[str, CheckedProof]:
    """By `RunRecord.key`, for every `unsat` with a proof.

    What this checker said before stands, where this user's salver has stored it (`sealed`).
    """
    known = stored_proofs(run_dir)
    checker = _source_of_checker()
    found: dict[str, CheckedProof] = {}
    for record in records:
        instance = instances.get(record.instance_id)
        if record.claim is not Claim.UNSAT or instance is None:
            continue
        # A text and not a Path: most runs have no proof, and a run may have 100,000 of them.
        name = f"{run_dir}/{record.logs or f'logs/{record.key}'}/files/{PROOF_FILE}.gz"
        if not os.path.isfile(name):  # noqa: PTH113
            continue
        path = Path(name)
        query = _digest(set_path / instance.onnx) + _digest(set_path / f"{instance.vnnlib}.gz")
        subject = hashlib.sha256(checker + query + path.read_bytes()).hexdigest()
        before = known.get(record.key)
        stands = before is not None and before.subject == subject
        found[record.key] = before if before and stands else _check(path, instance, set_path, subject)
    if found != known:
        text = {key: checked.model_dump(mode="json") for key, checked in found.items()}
        if (content := sealed(json.dumps(text, indent=1))) is not None:
            write_atomically(run_dir / STORE, content)
    return found


def _digest(path: Path) -> bytes:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return bytes(32)


def _source_of_checker() -> bytes:
    sources = sorted(Path(proofs.__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).digest()


def _check(path: Path, instance: Instance, set_path: Path, subject: str) -> CheckedProof:
    # Most runs have no proof, and the checker takes longer to import than those to judge.
    from salver.proofs.checker import RejectedError
    from salver.proofs.command import check_file
    from salver.proofs.graph import UnsupportedNetworkError

    since, size = time.monotonic(), path.stat().st_size
    try:
        check_file(set_path / instance.onnx, set_path / f"{instance.vnnlib}.gz", path)
    except (RejectedError, UnsupportedNetworkError, SalverError) as error:
        detail = " ".join(str(error).split())[:300]
        return CheckedProof(subject=subject, verdict=ProofVerdict.REJECTED, detail=detail, bytes=size)
    seconds = round(time.monotonic() - since, 3)
    return CheckedProof(subject=subject, verdict=ProofVerdict.CHECKED, bytes=size, seconds=seconds)


def stored_proofs(run_dir: Path) -> dict[str, CheckedProof]:
    """What was checked before, by `RunRecord.key`; nothing where there is no readable store."""
    try:
        stored = unsealed((run_dir / STORE).read_bytes())
        return {key: CheckedProof.model_validate(value) for key, value in stored.items()}
    except (OSError, ValueError, ValidationError, AttributeError, RecursionError):
        return {}
