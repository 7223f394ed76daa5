"""`salver bench overhead`: its table on figures known beforehand, and one short run of it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from experiments import overhead
from experiments.overhead import BARE, GROUPS, POLLING, OverheadOptions, bench_overhead, measure, summary
from salver.core.errors import SalverError


def test_overheads_are_differences_within_a_round() -> None:
    rows = [(n, "true", BARE, 0.001 * (n + 1)) for n in range(5)]
    rows += [(n, "true", GROUPS, 0.001 * (n + 1) + 0.02) for n in range(5)]
    table = summary(pd.DataFrame(rows, columns=["round", "command", "way", "seconds"]))
    assert list(table["limits"]) == [BARE, GROUPS]
    bare, groups = table.to_dict("records")
    assert bare["over no limits (ms)"] == ""
    assert groups["over no limits (ms)"].startswith("20.0")
    assert bare["median (ms)"].startswith("3.0 (1.0 to 5.0)")


def test_every_round_runs_every_way_once_and_the_first_is_not_counted() -> None:
    seen: list[str] = []
    ways = {name: lambda command, folder, name=name: seen.append(name) for name in "ab"}
    frame = measure(OverheadOptions(runs=3), ways)
    assert len(seen) == 4 * 2 * len(overhead.COMMANDS)
    assert set(frame.groupby(["round", "command", "way"]).size()) == {1}
    assert set(frame["round"]) == {0, 1, 2}


def test_the_real_thing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALVER_RUNEXEC", "/nowhere/runexec")
    monkeypatch.delenv("SALVER_CGROUPS", raising=False)
    said: list[str] = []
    folder = bench_overhead(tmp_path, OverheadOptions(runs=2), said.append)
    assert "BenchExec: runexec is not in PATH" in said[0]
    frame = pd.read_csv(folder / "overhead.csv")
    assert {BARE, POLLING} <= set(frame["way"])
    assert (frame["seconds"] > 0).all()
    assert POLLING in (folder / "overhead.md").read_text()


def test_a_run_that_fails_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(SalverError, match="did not end as it should"):
        overhead.supervised(["false"], tmp_path)
