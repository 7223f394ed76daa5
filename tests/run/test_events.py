"""The event store: nothing recorded is lost, nothing torn is counted, nobody else writes."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from salver.core.errors import SalverError
from salver.run import events
from salver.run.events import EventLog
from salver.runners.answers import Claim, RunRecord
from salver.supervise.finished import Termination
from tests.builders.odd_files import ODD_FILES


def record(key: str, **changes: object) -> RunRecord:
    values = {
        "key": key,
        "suite": "s",
        "instance_id": "i",
        "instance": "n",
        "family": "f",
        "solver": "x",
        "solver_version": "1",
        "repetition": 0,
        "limit_s": 1.0,
        "termination": Termination.EXITED,
        "exit_code": 0,
        "signal": None,
        "wall_s": 0.5,
        "cpu_s": 0.5,
        "memory_mb": 10.0,
        "claim": Claim.UNSAT,
        "reason": "",
    }
    return RunRecord.model_validate(values | changes)


LOST = {"termination": Termination.INFRASTRUCTURE, "claim": Claim.NONE}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log of the three records a, b and c."""
    path = tmp_path / "events.jsonl"
    with EventLog(path) as log:
        for key in "abc":
            log.append(record(key))
    return path


def keys(path: Path) -> list[str]:
    return [r.key for r in EventLog(path).records()]


def test_records_come_back_as_written(path: Path) -> None:
    assert list(EventLog(path).records()) == [record(key) for key in "abc"]
    assert path.read_text().count("\n") == 3


def test_no_file_is_no_records(tmp_path: Path) -> None:
    assert keys(tmp_path / "events.jsonl") == []
    assert list(tmp_path.iterdir()) == []


def test_every_cut_of_the_last_line_loses_that_line_alone(path: Path) -> None:
    whole = path.read_bytes()
    second = whole.rindex(b"\n", 0, -1) + 1
    for cut in range(second, len(whole)):
        path.write_bytes(whole[:cut])
        assert keys(path) == ["a", "b"]
    with EventLog(path) as log:
        log.append(record("c"))
    assert path.read_bytes() == whole


@pytest.mark.parametrize("tail", [b"\0" * 300, b"\0" * 300 + b'"}\n', b'{"key": "d"', b"\xff\xfe\n"])
def test_what_a_power_cut_leaves_is_cut_off_on_append(path: Path, tail: bytes) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole + tail)
    assert keys(path) == ["a", "b", "c"]
    EventLog(path).open()
    assert path.read_bytes() == whole


def test_reading_repairs_nothing(path: Path) -> None:
    torn = path.read_bytes() + b'{"key'
    path.write_bytes(torn)
    assert keys(path) == ["a", "b", "c"]
    assert path.read_bytes() == torn


@pytest.mark.parametrize(
    ("line", "what"),
    [("{torn", "Invalid JSON"), ("", "Invalid JSON"), ('{"key": "d"}', "suite: Field required")],
)
def test_a_corrupt_line_in_the_middle_is_named(path: Path, line: str, what: str) -> None:
    lines = path.read_text().splitlines()
    lines[1] = line
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(SalverError, match=f"events.jsonl: line 2 is not a run record .*{what}"):
        keys(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("wall_s", "1e308"), ("wall_s", "-5"), ("wall_s", "NaN"), ("wall_s", "Infinity"), ("wall_s", '"x"'),
        ("cpu_s", "-1"), ("memory_mb", "1e300"), ("memory_mb", "-0.5"), ("limit_s", "-Infinity"),
        ("repetition", "-1"), ("repetition", "1e30"), ("exit_code", "-7"), ("signal", "100000"),
        ("claim", '"maybe"'), ("termination", '"fine"'), ("measured", '"guessed"'), ("solver", "null"),
        ("solver", f'"{"x" * 501}"'), ("instance", f'"{"x" * 100_000}"'), ("reason", "[" * 5000),
        ("witness", '"/etc/passwd"'), ("witness", '"../../secret"'), ("witness", '"cex/../../secret"'),
        ("witness", '""'), ("logs", '".."'), ("logs", '"logs/\\u0000"'), ("key", '"\\ud800"'),
    ],
)  # fmt: skip
def test_a_field_out_of_its_range_is_named_with_its_line(path: Path, field: str, value: str) -> None:
    lines = path.read_text().splitlines()
    known = json.loads(lines[1])
    lines[1] = lines[1].replace(f'"{field}":{json.dumps(known[field])}', f'"{field}":{value}')
    assert lines[1] != lines[0].replace('"a"', '"b"')
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(SalverError, match=r"events.jsonl: line 2 is not a run record") as caught:
        keys(path)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 500 + len(str(path))


@pytest.mark.parametrize("extra", ['"claim": "sat"', '"claim" : "sat"', '"cl\\u0061im":"sat"'])
def test_a_field_that_is_given_twice_is_refused(path: Path, extra: str) -> None:
    lines = path.read_text().splitlines()
    lines[2] = lines[2].removesuffix("}") + f",{extra}}}"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(SalverError, match=r"line 3 is not a run record .claim: is given twice"):
        keys(path)


def test_a_colon_in_a_text_is_no_field(path: Path) -> None:
    with EventLog(path) as log:
        log.append(record("d", reason='it says "claim": "sat"'))
    assert keys(path) == list("abcd")


@pytest.mark.parametrize("stack", [1_000, 200_000])
@pytest.mark.parametrize("line", ["[" * 50_000, '{"a":' * 10_000, "[" * 101])
def test_a_deeply_nested_last_line_is_reported(
    path: Path, line: str, stack: int, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(partial(sys.setrecursionlimit, sys.getrecursionlimit()))
    sys.setrecursionlimit(max(stack, sys.getrecursionlimit()))
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(SalverError, match="line 4 is not a run record"):
        keys(path)


def test_a_torn_last_line_may_hold_any_text(path: Path) -> None:
    torn = record("d", reason='\\"' + "[{" * 500).model_dump_json()
    for cut in (len(torn) - 1, torn.index("[{") + 700):
        with path.open("a") as file:
            file.write(torn[:cut] + "\n")
        assert keys(path) == list("abc")
        with EventLog(path):
            pass


@pytest.mark.parametrize("kind", ODD_FILES)
def test_only_a_regular_file_of_bounded_size_is_a_log(tmp_path: Path, kind: str) -> None:
    (tmp_path / "run").mkdir()
    ODD_FILES[kind](tmp_path / "run/events.jsonl")
    with pytest.raises(SalverError, match=r"events.jsonl: cannot read it .*remove what stands there"):
        keys(tmp_path / "run/events.jsonl")
    with pytest.raises(SalverError), EventLog(tmp_path / "run/events.jsonl"):
        pytest.fail("opened it")


def test_a_last_line_of_another_shape_is_reported_and_kept(path: Path) -> None:
    other = path.read_bytes() + b'{"key": "d", "from": "a later version"}\n'
    path.write_bytes(other)
    with pytest.raises(SalverError, match="line 4"):
        keys(path)
    EventLog(path).open()
    assert path.read_bytes() == other


def test_a_key_counts_once_as_its_first_record(path: Path) -> None:
    with EventLog(path) as log:
        log.append(record("b", claim=Claim.SAT))
    assert [(r.key, r.claim) for r in EventLog(path).records()] == [(key, Claim.UNSAT) for key in "abc"]


def test_an_infrastructure_loss_gives_way_to_a_result(path: Path) -> None:
    log = EventLog(path)
    with log:
        for lost in ("a", "d", "e"):
            log.append(record(lost, **LOST))
        assert log.completed() == {"a", "b", "c"}
        log.append(record("d", claim=Claim.SAT))
        log.append(record("d", claim=Claim.UNKNOWN))
    assert log.completed() == set("abcd")
    claims = {r.key: r.claim for r in log.records()}
    assert claims == dict.fromkeys("abc", Claim.UNSAT) | {"d": Claim.SAT, "e": Claim.NONE}


def test_a_second_coordinator_is_refused(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from salver.run.events import EventLog;"
        "EventLog(Path(sys.argv[1])).open()"
    )
    with EventLog(path):
        with pytest.raises(SalverError, match="another salver process is writing this run"):
            EventLog(path).open()
        other = subprocess.run(
            [sys.executable, "-c", code, path], capture_output=True, text=True, check=False
        )
        assert "another salver process is writing this run" in other.stderr
        assert keys(path) == ["a", "b", "c"]
    with EventLog(path) as log:
        log.append(record("d"))


def test_every_record_is_synced_before_append_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    with EventLog(path) as log:
        monkeypatch.setattr(events.os, "fsync", lambda fd: sizes.append(os.fstat(fd).st_size))
        log.append(record("d"))
        assert sizes == [path.stat().st_size]


def test_a_full_disk_leaves_no_half_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, write, room = path.read_bytes(), os.write, [50, 0]

    def full(descriptor: int, data: bytes) -> int:
        if count := room.pop(0):
            return write(descriptor, data[:count])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with EventLog(path) as log:
        monkeypatch.setattr(events.os, "write", full)
        with pytest.raises(SalverError, match=r"No space left on device.*free some space"):
            log.append(record("d"))
        monkeypatch.undo()
        assert room == []
        assert path.read_bytes() == whole
        log.append(record("d"))
    assert keys(path) == list("abcd")


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SalverError, match="cannot open it"):
        EventLog(tmp_path / "file" / "events.jsonl").open()
