"""Replays the witnesses of a run, once each: what came out is kept beside the run."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path

import salver
from salver.core.confined import read_inside, sha256_inside, write_inside
from salver.core.errors import SalverError
from salver.families.instance import Instance
from salver.judge.judgement import WitnessVerdict
from salver.judge.loaded import LoadedInstance, StoredRun
from salver.judge.sealed import sealed, unsealed
from salver.judge.stated import as_stated
from salver.judge.witness import Gradient, Replay, replay, second_opinion
from salver.nets.onnx.file import MOST_BYTES
from salver.runners.answers import Claim, RunRecord

STORE = "replays.json"
MOST_STORE_BYTES = 256 << 20
_JUDGING = ("core", "explain", "families", "judge", "nets", "oracle", "spec")


def replay_witnesses(run: StoredRun) -> dict[str, Replay]:
    """By `RunRecord.key`, for every `sat`; without point and outputs, which would not fit for a large run.

    What was found before stands as long as its subject does: a hash of the witness, the instance's network,
    query, original and facts, this package's code that judges, and the versions of what runs the networks.
    A store that this user's salver did not write is not believed (`sealed`).

    Raises:
        SalverError: a query that cannot be read.
    """
    known = _stored(run.folder)
    subject_of = _Subjects(run.instances.folder)
    stands = dict(known.values())
    found: dict[str, Replay] = {}
    subjects: dict[str, str] = {}
    for record, instance in _claims(run):
        try:
            text = run.witness(record)
        except OSError as error:
            detail = f"the stored witness cannot be read: {error.strerror}"
            found[record.key] = Replay(verdict=WitnessVerdict.UNCHECKABLE, detail=detail)
            continue
        subject = subject_of(instance.record, text)
        if subject not in stands:
            by_facts = instance.record.facts is not None
            first = replay(instance.onnx, instance.query, text) if by_facts else as_stated(instance, text)
            judged = second_opinion(first, instance)
            stands[subject] = judged.model_copy(update={"point": (), "outputs": ()})
        found[record.key] = stands[subject]
        if found[record.key].verdict is not WitnessVerdict.UNCHECKABLE:
            subjects[record.key] = subject
    if subjects != {key: subject for key, (subject, _) in known.items()}:
        # A run that can only be read is replayed each time.
        with contextlib.suppress(SalverError):
            _store(run.folder, subjects, found)
    return found


class _Subjects:
    """Hashes of what a replay looks at; files are read once each."""

    def __init__(self, set_path: Path) -> None:
        self._set_path = set_path
        self._files: dict[str, bytes] = {}
        self._instances: dict[str, bytes] = {}

    def __call__(self, instance: Instance, text: str | None) -> str:
        if instance.id not in self._instances:
            stored = (*instance.named_networks.values(), f"{instance.vnnlib}.gz", instance.network)
            parts = [self._file(name) for name in stored]
            parts += [name.encode() for name in instance.named_networks]
            if instance.facts is not None:
                # Which test point it is and what sampling found there say nothing about a witness.
                parts.append(instance.facts.model_dump_json(exclude={"index", "vacuity"}).encode())
            parts.append(judging_code())
            self._instances[instance.id] = hashlib.sha256(b"".join(parts)).digest()
        witness = b"none" if text is None else hashlib.sha256(text.encode()).digest()
        return hashlib.sha256(self._instances[instance.id] + witness).hexdigest()

    def _file(self, name: str) -> bytes:
        if name not in self._files:
            try:
                self._files[name] = bytes.fromhex(sha256_inside(self._set_path, name, MOST_BYTES))
            except OSError:
                self._files[name] = hashlib.sha256(b"").digest()
        return self._files[name]


def _claims(run: StoredRun) -> Iterator[tuple[RunRecord, LoadedInstance]]:
    for record in run.records:
        if record.claim is Claim.SAT and record.instance_id in run.instances.by_id:
            yield record, run.instances[record.instance_id]


@cache
def judging_code() -> bytes:
    root = Path(salver.__file__).parent
    sources = [path for name in _JUDGING for path in sorted((root / name).rglob("*.py"))]
    versions = repr([version(name) for name in ("numpy", "onnxruntime", "torch")])
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources) + versions.encode()).digest()


def _stored(run_dir: Path) -> dict[str, tuple[str, Replay]]:
    """Subject and replay by key; nothing where there is no readable store."""
    try:
        stored = unsealed(read_inside(run_dir, STORE, MOST_STORE_BYTES))
        # Most replays say the same: each is made once.
        known = cache(_replayed)
        return {
            key: (str(subject), known(verdict, gradient, str(detail)))
            for key, (subject, verdict, gradient, detail) in stored.items()
        }
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _replayed(verdict: str, gradient: Gradient, detail: str) -> Replay:
    return Replay(verdict=WitnessVerdict(verdict), gradient=gradient, detail=detail)


def _store(run_dir: Path, subjects: Mapping[str, str], found: Mapping[str, Replay]) -> None:
    lines = (
        f"{json.dumps(key)}:{json.dumps([subject, one.verdict, one.gradient, one.detail])}"
        for key, subject in subjects.items()
        for one in (found[key],)
    )
    if (content := sealed("{" + ",\n".join(lines) + "}")) is not None:
        write_inside(run_dir, STORE, content)
