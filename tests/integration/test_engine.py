"""Plan, stage, run, record: the local engine on fake solvers."""

from __future__ import annotations

import errno
import gzip
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from salver.core.errors import SalverError
from salver.run import job, logs, stage
from salver.run.events import EventLog
from salver.run.job import read_answer
from salver.run.local import RunSummary
from salver.run.logs import read_finished
from salver.run.plan import Plan, plan
from salver.runners.answers import Claim, RunRecord
from salver.supervise.finished import Finished, Limits, Termination
from salver.supervise.process import lost
from tests.fake_solvers.bench import ROOMY, SHORT, Bench, guarded
from tests.fake_solvers.runner import (
    BrokenRunner,
    ChoosyRunner,
    FakeRunner,
    FileRunner,
    OddResultRunner,
    fake_instance,
)

WITNESS = "((X_0 0.5)\n(X_1 0.25))"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench whose runs may leave no process and no private copy behind."""
    with guarded(tmp_path) as bench:
        yield bench


EXITED, CRASHED, WALLTIME = Termination.EXITED, Termination.CRASHED, Termination.WALLTIME
OUTCOMES = [
    ("sat", (WITNESS,), ROOMY, EXITED, Claim.SAT, ""),
    ("sat_wrong_witness", (), ROOMY, EXITED, Claim.SAT, ""),
    ("sat_no_witness", (), ROOMY, EXITED, Claim.SAT, ""),
    ("sat_malformed_witness", (), ROOMY, EXITED, Claim.SAT, ""),
    ("unsat", (), ROOMY, EXITED, Claim.UNSAT, ""),
    ("unknown", (), ROOMY, EXITED, Claim.UNKNOWN, "gave up"),
    ("sleeps", (), SHORT, WALLTIME, Claim.NONE, "over the wall limit of 0.3 s; no verdict"),
    ("ignores_signals", (), SHORT, WALLTIME, Claim.NONE, "over the wall limit"),
    ("late", ("0.35",), Limits(wall_s=0.3, grace_s=20), WALLTIME, Claim.UNSAT, "does not count"),
    ("answers_then_hangs", (), SHORT, WALLTIME, Claim.UNSAT, "does not count"),
    ("forks", (), ROOMY, EXITED, Claim.UNKNOWN, "4 left-over processes killed"),
    ("daemon", (), ROOMY, EXITED, Claim.UNKNOWN, "1 left-over processes killed"),
    ("memory_hog", (), Limits(wall_s=20, memory_mb=60), Termination.MEMORY, Claim.NONE, "60 MiB"),
    ("burns_cpu", (), Limits(wall_s=20, cpu_s=0.1), Termination.CPUTIME, Claim.NONE, "CPU limit of 0.1 s"),
    ("crashes", (), ROOMY, CRASHED, Claim.NONE, "SIGSEGV"),
    ("exits_nonzero", (), ROOMY, EXITED, Claim.NONE, "exit code 3: ValueError: no such layer"),
    ("answers_then_fails", (), ROOMY, EXITED, Claim.UNSAT, "does not count, since it ended with an error"),
    ("garbage", (), ROOMY, EXITED, Claim.NONE, "no verdict"),
    ("fills_stdout", ("3",), Limits(wall_s=20, output_mb=1), EXITED, Claim.UNSAT, "stdout was cut"),
    ("fills_stderr", ("3",), Limits(wall_s=20, output_mb=1), EXITED, Claim.UNSAT, "stderr was cut"),
    ("litters", (), ROOMY, EXITED, Claim.UNSAT, ""),
    ("reads_stdin", (), ROOMY, EXITED, Claim.UNSAT, ""),
]


@pytest.mark.parametrize(
    ("behaviour", "arguments", "limits", "termination", "claim", "reason"),
    OUTCOMES,
    ids=[outcome[0] for outcome in OUTCOMES],
)
def test_outcome(
    bench: Bench,
    behaviour: str,
    arguments: tuple[str, ...],
    limits: Limits,
    termination: Termination,
    claim: Claim,
    reason: str,
) -> None:
    record = bench.one(FakeRunner(behaviour, bench.pids, *arguments), limits)
    assert (record.termination, record.claim) == (termination, claim)
    assert reason in record.reason
    assert bool(record.reason) == bool(reason)
    assert record.limit_s == limits.wall_s
    assert (record.started, record.host) > ("2", "")


class EndsWithOne(FakeRunner):
    exit_codes = frozenset({1})


@pytest.mark.parametrize("kind", [FakeRunner, EndsWithOne])
@pytest.mark.parametrize("answer", ["unknown", "timeout", f"sat\n{WITNESS}", "unsat", ""])
def test_a_status_that_is_no_error_of_a_tool_leaves_all_answers_but_unsat(
    bench: Bench, kind: type[FakeRunner], answer: str
) -> None:
    record = bench.one(kind("answers_then_fails", bench.pids, answer), ROOMY)
    assert record.ended_well == (kind is EndsWithOne and answer not in ("unsat", ""))


def test_witness_and_logs_are_stored(bench: Bench) -> None:
    record = bench.one(FakeRunner("sat", bench.pids, WITNESS))
    assert record.witness == f"cex/{record.key}.txt"
    assert (bench.run_dir / record.witness).read_text() == WITNESS
    assert record.logs == f"logs/{record.key}"
    stored = {
        path.name: gzip.decompress(path.read_bytes()) for path in (bench.run_dir / record.logs).iterdir()
    }
    ran = json.loads(stored.pop("command.json.gz"))
    assert stored == {"stdout.gz": f"sat\n{WITNESS}\n".encode(), "stderr.gz": b""}
    assert ran["argv"][0] == sys.executable
    assert any(part.endswith("vnnlib/a.vnnlib") for part in ran["argv"])
    assert ran["environment"]["FAKE_PIDS"] == str(bench.pids)


def test_stored_logs_give_the_same_answer_again(bench: Bench) -> None:
    runner = FileRunner("result_file", bench.pids)
    record = bench.one(runner)
    assert record.claim is Claim.UNSAT
    again = read_finished(bench.run_dir, record)
    assert again.files == {"result.txt": "unsat\n"}
    assert runner.parse(fake_instance(bench.root), again).claim is Claim.UNSAT
    (bench.run_dir / f"logs/{record.key}/stderr.gz").write_bytes(b"no gzip")
    with pytest.raises(SalverError, match="cannot read a stored log"):
        read_finished(bench.run_dir, record)


ODD_RESULTS = {
    "folder": "a folder, not a regular file",
    "pipe": "a pipe, not a regular file",
    "socket": "a socket, not a regular file",
    "link": "a link, not a regular file",
    "loop": "a link, not a regular file",
    "nowhere": "a link, not a regular file",
    "sparse": "larger than 64 MiB",
    "moved": "behind a link 'work'",
}


@pytest.mark.parametrize(("kind", "what"), ODD_RESULTS.items())
def test_a_tool_without_a_file_for_its_result_fails_alone(bench: Bench, kind: str, what: str) -> None:
    runners = {
        "odd": OddResultRunner("odd_result", bench.pids, kind),
        "fine": FakeRunner("unsat", bench.pids),
    }
    planned = bench.plan(runners, "ab")
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir()))
    assert bench.run(runners, planned).left == 0
    found = {(record.solver, record.claim) for record in bench.records()}
    assert found == {("odd", Claim.ERROR), ("fine", Claim.UNSAT)}
    assert {r.reason for r in bench.records() if r.solver == "odd"} == {f"hostname is {what}"}
    assert bench.run(runners, planned) == RunSummary(0, 4, 0)
    assert len(list(descriptors.iterdir())) <= before + 1
    assert list(bench.scratch.iterdir()) == []


@pytest.mark.parametrize("kind", ["folder", "pipe", "link"])
def test_a_tool_without_a_file_for_its_proof_fails(bench: Bench, kind: str) -> None:
    record = bench.one(OddResultRunner("odd_result", bench.pids, kind, proof=True))
    assert record.claim is Claim.ERROR
    assert "hostname is a " in record.reason


def test_an_answer_stands_without_a_proof_that_is_too_large_to_keep(bench: Bench) -> None:
    record = bench.one(OddResultRunner("odd_result", bench.pids, "sparse", proof=True))
    assert (record.claim, record.reason) == (Claim.UNSAT, "hostname is larger than 64 MiB")


def test_what_a_tool_leaves_in_its_folders_is_removed(bench: Bench) -> None:
    bench.one(FakeRunner("litters", bench.pids))
    folders = [Path(line) for line in (bench.pids / "folders").read_text().splitlines()]
    assert [folder.exists() for folder in folders] == [False, False]
    assert all(folder.is_relative_to(bench.scratch) for folder in folders)
    assert sorted(p.name for p in bench.root.rglob("*.vnnlib*") if p.is_file()) == ["a.vnnlib"] * 2


@pytest.mark.parametrize("method", ["command", "parse"])
def test_a_broken_runner_is_an_error_with_a_reason(bench: Bench, method: str) -> None:
    record = bench.one(BrokenRunner("unsat", bench.pids, method))
    assert record.claim is Claim.ERROR
    assert f"the runner's {method}() failed" in record.reason
    assert record.termination is (CRASHED if method == "command" else EXITED)


def test_the_order_is_deterministic_and_interleaved(bench: Bench) -> None:
    runners = {name: FakeRunner("unsat", bench.pids) for name in "xyz"}
    instances = [fake_instance(bench.root, name) for name in "abcdefgh"]

    def order(seed: int, turned: bool = False) -> list[tuple[int, str, str]]:
        found = instances[::-1] if turned else instances
        named = dict(reversed(runners.items())) if turned else runners
        jobs = plan(found, named, lambda *_: ROOMY, repetitions=2, seed=seed).jobs
        return [(p.job.repetition, p.instance.name, p.job.solver) for p in jobs]

    first = order(1)
    assert first == order(1, turned=True) != order(2)
    assert len(set(first)) == 8 * 3 * 2
    for start in range(0, len(first), 3):
        assert len({(repetition, name) for repetition, name, _ in first[start : start + 3]}) == 1
    assert [repetition for repetition, _, _ in first] == [0] * 24 + [1] * 24
    assert len({solver for _, _, solver in first[::3]}) > 1


def test_job_keys_tell_limits_and_devices_apart(bench: Bench) -> None:
    runner = FakeRunner("unsat", bench.pids)
    keys = {bench.plan({"x": runner}, limits=limits).jobs[0].job.key for limits in (ROOMY, SHORT)}
    runner.device = "cuda"
    assert len(keys | {bench.plan({"x": runner}).jobs[0].job.key}) == 3


def test_two_instances_of_one_content_are_refused(bench: Bench) -> None:
    for name in ("a", "b"):
        twin = fake_instance(bench.root).model_copy(update={"name": name})
        with pytest.raises(SalverError, match=f"instances a and {name} have the same content"):
            plan([fake_instance(bench.root), twin], {}, lambda *_: ROOMY, repetitions=1, seed=0)


def test_unsupported_jobs_are_recorded_once_and_never_run(bench: Bench) -> None:
    runners = {"choosy": ChoosyRunner("sleeps", bench.pids), "fake": FakeRunner("unsat", bench.pids)}
    planned = bench.plan(runners, "ab")
    seen: list[RunRecord] = []
    assert bench.run(runners, planned, on_finish=seen.append) == RunSummary(2, 0, 0)
    assert bench.run(runners, planned, on_finish=seen.append) == RunSummary(0, 2, 0)
    assert len(seen) == 4
    unsupported = [r for r in bench.records() if r.solver == "choosy"]
    assert {r.termination for r in unsupported} == {Termination.UNSUPPORTED}
    assert {r.reason for r in unsupported} == {"cannot read a", "cannot read b"}
    assert list(bench.pids.iterdir()) == []


@pytest.mark.parametrize("cut", [1, 30])
def test_resume_after_a_torn_line_gives_equal_results(bench: Bench, cut: int) -> None:
    runners = {"u": FakeRunner("unsat", bench.pids), "s": FakeRunner("sat", bench.pids, WITNESS)}
    planned, events = bench.plan(runners, "abc"), bench.run_dir / "events.jsonl"
    bench.run(runners, planned)
    whole = {(r.key, r.claim, r.termination, r.witness) for r in bench.records()}
    events.write_bytes(events.read_bytes()[:-cut])
    assert bench.run(runners, planned) == RunSummary(1, 5, 0)
    assert {(r.key, r.claim, r.termination, r.witness) for r in bench.records()} == whole
    assert bench.run(runners, planned) == RunSummary(0, 6, 0)


def test_the_first_interrupt_drains(bench: Bench) -> None:
    runners = {"fake": FakeRunner("unsat", bench.pids)}
    planned = bench.plan(runners, "abcdef")
    before = signal.getsignal(signal.SIGINT)
    summary = bench.run(runners, planned, on_finish=lambda _: signal.raise_signal(signal.SIGINT))
    assert summary.finished + summary.left == 6
    assert summary.finished in (1, 2)
    assert len(bench.records()) == summary.finished
    assert signal.getsignal(signal.SIGINT) is before
    assert bench.run(runners, planned) == RunSummary(summary.left, summary.finished, 0)


@pytest.mark.parametrize("signals", [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM,)])
def test_the_second_interrupt_or_a_term_kills(bench: Bench, signals: tuple[int, ...]) -> None:
    runners = {"quick": FakeRunner("daemon", bench.pids), "stuck": FakeRunner("sleeps", bench.pids)}

    def interrupt(_: RunRecord) -> None:
        for number in signals:
            signal.raise_signal(number)

    assert bench.run(runners, bench.plan(runners), on_finish=interrupt) == RunSummary(1, 0, 1)
    (record,) = bench.records()
    assert record.solver == "quick"
    assert [path.name for path in (bench.run_dir / "logs").iterdir()] == [record.key]


def test_an_error_while_recording_stops_the_run(bench: Bench) -> None:
    runners = {"quick": FakeRunner("unsat", bench.pids), "stuck": FakeRunner("sleeps", bench.pids)}

    def fail(_: RunRecord) -> None:
        raise SalverError("no space left")

    with pytest.raises(SalverError, match="no space left"):
        bench.run(runners, bench.plan(runners), on_finish=fail)
    (record,) = bench.records()
    assert [path.name for path in (bench.run_dir / "logs").iterdir()] == [record.key]


def test_only_infrastructure_is_tried_again_and_only_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []
    real = job.run_supervised

    def flaky(command: list[str], *arguments: object, **options: object) -> Finished:
        tries.append(command[-1])
        return lost("lost") if len(tries) <= failures else real(command, *arguments, **options)

    monkeypatch.setattr(job, "run_supervised", flaky)
    failures = 2
    assert bench.one(FakeRunner("crashes", bench.pids)).termination is Termination.INFRASTRUCTURE
    assert len(tries) == 2
    tries.clear()
    failures = 1
    assert bench.one(FakeRunner("crashes", bench.pids)).termination is CRASHED
    assert len(tries) == 2
    runners = {"fake": FakeRunner("crashes", bench.pids)}
    assert bench.run(runners, bench.plan(runners)) == RunSummary(0, 1, 0)


def test_a_stopped_job_is_not_tried_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    tries, stop = [], threading.Event()

    def interrupted(*_: object, **__: object) -> Finished:
        tries.append(1)
        stop.set()
        return lost("stopped")

    monkeypatch.setattr(job, "run_supervised", interrupted)
    runner = FakeRunner("unsat", bench.pids)
    (planned,) = bench.plan({"fake": runner}).jobs
    job.run_job(planned, runner, job.Folders(bench.root, bench.run_dir, bench.scratch), stop=stop)
    assert tries == [1]


def test_a_runner_of_two_cores_takes_two_slots(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, used, peaks = threading.Lock(), [0], []
    real = job.run_supervised

    def counted(command: list[str], *arguments: object, **options: object) -> Finished:
        count = len(options["cores"])  # type: ignore[arg-type]
        with lock:
            used[0] += count
            peaks.append((count, used[0]))
        try:
            return real(command, *arguments, **{**options, "cores": None})
        finally:
            with lock:
                used[0] -= count

    monkeypatch.setattr(job, "run_supervised", counted)
    runners = {
        "one": FakeRunner("unsat", bench.pids),
        "two": FakeRunner("unsat", bench.pids, cpus=2),
        "many": FakeRunner("unsat", bench.pids, cpus=64),
    }
    assert bench.run(runners, bench.plan(runners, "abcd"), workers=3, cores=(0, 1, 2)).finished == 12
    assert max(total for _, total in peaks) <= 3
    assert sorted(count for count, _ in peaks) == [1] * 4 + [2] * 4 + [3] * 4


@pytest.mark.parametrize(("workers", "cores"), [(0, None), (3, (0, 1))])
def test_too_few_slots_or_cores_is_one_clear_line(
    bench: Bench, workers: int, cores: tuple[int, ...] | None
) -> None:
    with pytest.raises(SalverError, match="-j"):
        bench.run({}, Plan([], []), workers=workers, cores=cores)


def test_two_coordinators_cannot_write_one_run(bench: Bench) -> None:
    with EventLog(bench.run_dir / "events.jsonl"), pytest.raises(SalverError, match="another salver process"):
        bench.run({}, Plan([], []))


def test_no_space_for_the_copies_is_our_loss_and_leaves_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(stage.shutil, "copyfile", full)
    record = bench.one(FakeRunner("unsat", bench.pids))
    assert record.termination is Termination.INFRASTRUCTURE
    assert record.claim is Claim.NONE
    assert "No space left on device" in record.reason
    assert "free some space" in record.reason


def test_no_space_for_the_logs_is_our_loss_and_leaves_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name != "stderr.gz":
            return write(path, data)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    record = bench.one(FakeRunner("sat", bench.pids, WITNESS))
    assert (record.termination, record.claim) == (Termination.INFRASTRUCTURE, Claim.NONE)
    assert "No space left on device" in record.reason
    assert (record.logs, record.witness) == (None, None)
    assert list((bench.run_dir / "logs").iterdir()) == []


def test_logs_and_witness_are_on_the_disk_before_their_record(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(logs, "sync", lambda path: synced.append(f"{path.name} {path.stat().st_size > 0}"))
    monkeypatch.setattr(EventLog, "append", lambda *_: synced.append("record"))
    runners = {"fake": FakeRunner("sat", bench.pids, WITNESS)}
    planned = bench.plan(runners)
    bench.run(runners, planned)
    key = planned.jobs[0].job.key
    assert sorted(synced[:-1]) == sorted(["stdout.gz True", f"{key}.txt True"])
    assert synced[-1] == "record"


def test_infrastructure_losses_are_not_parsed(bench: Bench) -> None:
    runner = BrokenRunner("unsat", bench.pids)
    (planned,) = bench.plan({"fake": runner}).jobs
    assert read_answer(runner, planned, lost("gone")).claim is Claim.NONE
