"""`scripts/gpu_check.sh`: one line without a device, and what it does with one, with the CPU in its place."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from experiments.gpu import check as gpu_check
from experiments.gpu.check import TimedAnswer, answered, correctness, main, speed_table
from salver.core.errors import SalverError
from salver.solvers.query import Result, Verdict
from salver.spec import to_vnnlib1
from tests.builders.small_queries import toy_gap


def ahead(seconds: float) -> float:
    return time.monotonic() + seconds


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_it_says_so_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 3
    line = capsys.readouterr().out
    assert line == f"gpu_check: torch {torch.__version__} finds no CUDA device; nothing was checked\n"


def test_the_same_device_gives_the_same_answers() -> None:
    table, contradictions = correctness("cpu", ahead(60.0), 3, ("hybrid",))
    assert contradictions == []
    assert table.to_dict("records") == [
        {"solver": "hybrid", "queries": "3", "same": "3", "undecided": "0", "contradictions": "0"}
    ]


def test_a_contradiction_is_named_and_is_a_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def solved(name: str, query: object, device: str) -> Result:
        return Result(Verdict.SAT if device == "cpu" else Verdict.UNSAT)

    def no_data(*_: object) -> None:
        raise SalverError("no benchmark", "there", "put it there")

    monkeypatch.setattr(gpu_check, "_solved", solved)
    monkeypatch.setattr(gpu_check, "card_of", lambda device: "a card")
    monkeypatch.setattr(gpu_check, "speed_table", no_data)
    monkeypatch.setattr(gpu_check, "project_root", lambda: tmp_path)
    monkeypatch.setattr(gpu_check, "QUERIES", 2)
    assert correctness("cuda", ahead(-1.0), 2)[1] == []
    assert main(["cuda"]) == 1
    printed = capsys.readouterr().out
    assert "hybrid, query 1: sat on the CPU, unsat on cuda" in printed
    assert "lifted sets: skipped: there: no benchmark; put it there" in printed
    (page,) = tmp_path.glob("reports/gpu-check-*/gpu-check.md")
    assert "a card" in page.read_text()


def test_speed_is_nodes_by_seconds_and_stops_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([TimedAnswer("unsat", 2.0, 10), TimedAnswer("timed-out", 10.0, None)])
    monkeypatch.setattr(gpu_check, "lifted_queries", lambda _: [("n", Path(), Path()), ("m", Path(), Path())])
    monkeypatch.setattr(gpu_check, "answered", lambda *_: next(answers))
    monkeypatch.setattr(gpu_check, "LIFTED_LIMIT_S", 10.0)
    until = ahead(25.0)
    monkeypatch.setattr(gpu_check.time, "monotonic", iter([until - 25.0, until - 13.0]).__next__)
    (row,) = speed_table("cuda", until).to_dict("records")
    assert row == {
        "network": "n",
        "cpu: answer": "unsat", "cpu: seconds": "2.00", "cpu: nodes/s": "5.0",
        "cuda: answer": "timed-out", "cuda: seconds": "10.00", "cuda: nodes/s": "-",
    }  # fmt: skip


@pytest.mark.slow
def test_a_process_of_its_own_says_its_answer(tmp_path: Path) -> None:
    query = toy_gap(tmp_path, 0.375, 0.625)
    (tmp_path / "q.vnnlib").write_text(to_vnnlib1(query.prop))
    found = answered("hybrid", tmp_path / "q.vnnlib", query.onnx, "cpu")
    assert (found.verdict, found.seconds > 0.0) == ("unsat", True)
