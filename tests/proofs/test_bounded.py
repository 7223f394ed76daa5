"""Checking a proof ends within its limits, whatever the proof holds, and says why in one line."""

from __future__ import annotations

import gzip
import json
import os
import time
from pathlib import Path

import pytest

from experiments.soundness.stated import read_again, statement_of
from salver.nets.onnx.writer import to_bytes, to_model
from salver.proofs.bounded import CheckLimits, CheckOutcome, CheckReply, check_bounded, run_bounded
from salver.proofs.checker import LimitError, check
from salver.proofs.command import main as check_proof
from salver.proofs.record import MOST_LINE_BYTES, QueryFiles, read_proof, write_proof
from salver.proofs.row_sum import RejectedError
from salver.proofs.worker import CheckerProcess
from salver.solvers.proving.search import prove
from salver.solvers.query import Budget
from salver.spec.write import to_vnnlib1
from tests.builders.small_queries import toy_gap

Files = tuple[Path, Path, Path]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A query and its proof as files."""
    query = read_again(toy_gap(tmp_path, 0.375, 0.625))
    steps = prove(query, Budget(20.0))
    assert steps is not None
    onnx, vnnlib, proof = (tmp_path / name for name in ("n.onnx", "q.vnnlib", "q.proof.gz"))
    onnx.write_bytes(to_bytes(to_model(query.network)))
    vnnlib.write_text(to_vnnlib1(query.prop, []))
    write_proof(proof, QueryFiles.read(onnx, vnnlib), steps)
    return onnx, vnnlib, proof


def _replaced(files: Files, body: bytes) -> None:
    """Puts other lines behind the header of the proof."""
    head = json.dumps(QueryFiles.read(*files[:2]).header).encode()
    files[2].write_bytes(gzip.compress(head + b"\n" + body, 1))


def test_a_proof_is_accepted_in_a_process_of_its_own(files: Files) -> None:
    assert check_bounded(*files, CheckLimits()).answer is CheckReply.ACCEPTED


def test_a_propagation_that_changes_nothing_is_refused(files: Files) -> None:
    _replaced(files, b'{"do":"propagate"}\n' * 1000)
    outcome = check_bounded(*files, CheckLimits())
    assert outcome.answer is CheckReply.REJECTED
    assert "step 1: a propagate that changes nothing" in outcome.detail


@pytest.mark.slow
def test_one_endless_line_is_not_held_in_memory(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    _replaced(files, b"[" + b"[]," * (MOST_LINE_BYTES // 3) + b"[]]\n")
    outcome = check_bounded(*files, CheckLimits(memory_mib=2048))
    assert outcome.answer is CheckReply.UNCHECKED
    assert "in one line" in outcome.detail
    assert check_proof([str(path) for path in files]) == 1
    assert capsys.readouterr().out.startswith("rejected: unchecked, the proof has more than")


@pytest.mark.slow
def test_splits_without_end_stop_at_the_limit_of_time(files: Files) -> None:
    step = {"do": "bound", "tensor": "X", "at": [0] * 4096, "lower": [1] * 4096, "by": []}
    _replaced(files, (json.dumps(step) + "\n").encode() * 5000)
    outcome = check_bounded(*files, CheckLimits(seconds=3.0))
    assert outcome.answer is CheckReply.UNCHECKED
    assert outcome.detail == "checking takes more than 3 s"


def test_a_process_that_takes_all_memory_is_one_line() -> None:
    def hungry() -> CheckOutcome:
        return CheckOutcome(CheckReply.ACCEPTED, str(len(bytearray(1 << 34))))

    outcome = run_bounded(hungry, CheckLimits(memory_mib=4096))
    assert outcome.answer is CheckReply.UNCHECKED
    assert outcome.detail == "checking takes more than 4096 MiB of memory"


def test_a_process_that_dies_or_fails_is_one_line() -> None:
    def dies() -> CheckOutcome:
        os._exit(3)

    def fails() -> CheckOutcome:
        raise RuntimeError("two\nlines")

    for job, why in ((dies, "ended without an answer"), (fails, "RuntimeError: two lines")):
        outcome = run_bounded(job, CheckLimits())
        assert outcome.answer is CheckReply.UNCHECKED
        assert why in outcome.detail
        assert "\n" not in outcome.detail


def test_a_sleeping_process_is_ended_at_the_limit() -> None:
    def sleeps() -> CheckOutcome:
        time.sleep(600)
        return CheckOutcome(CheckReply.ACCEPTED)

    assert run_bounded(sleeps, CheckLimits(seconds=0.3)).answer is CheckReply.UNCHECKED


def test_steps_are_counted(tmp_path: Path) -> None:
    network, prop = statement_of(toy_gap(tmp_path))
    split = {"do": "split", "switch": "t0", "at": 0}
    with pytest.raises(LimitError, match="more than 2 steps"):
        check(network, prop, [split] * 3, most=2)
    with pytest.raises(RejectedError):
        check(network, prop, [split] * 3)


def test_what_is_no_regular_file_is_not_read(files: Files) -> None:
    onnx, vnnlib, proof = files
    proof.unlink()
    os.mkfifo(proof)
    outcome = check_bounded(onnx, vnnlib, proof, CheckLimits())
    assert outcome.answer is CheckReply.UNREADABLE
    assert "no regular file" in outcome.detail
    assert check_bounded(onnx, Path("/dev/zero"), proof, CheckLimits()).answer is CheckReply.UNREADABLE


def test_a_proof_of_an_older_version_is_told_so(files: Files) -> None:
    header = {**QueryFiles.read(*files[:2]).header, "version": 2}
    files[2].write_text(json.dumps(header) + "\n")
    with pytest.raises(LimitError, match="of version 2, this checker reads version 3"):
        read_proof(files[2], QueryFiles.read(*files[:2]))


@pytest.mark.slow
def test_one_process_checks_many_proofs_and_outlives_the_bad_ones(files: Files) -> None:
    onnx, vnnlib, proof = files
    bad = proof.with_name("bad.proof.gz")
    bad.write_bytes(b"\x1f\x8bbroken")
    process = CheckerProcess(CheckLimits(seconds=60.0))
    found = [process.check(onnx, vnnlib, one).answer for one in (proof, bad, proof)]
    process.close()
    assert found == [CheckReply.ACCEPTED, CheckReply.UNREADABLE, CheckReply.ACCEPTED]


@pytest.mark.parametrize("option", ["--timeout", "--memory"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "many"])
def test_limits_are_positive_numbers(files: Files, option: str, value: str) -> None:
    with pytest.raises(SystemExit) as caught:
        check_proof([*map(str, files), option, value])
    assert caught.value.code == 2
