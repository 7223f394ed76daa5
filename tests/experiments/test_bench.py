"""The tables of `salver bench` on runs whose figures are known beforehand."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
import pytest

from experiments import solvers as bench
from experiments.measured import MEASURED_COLUMNS, measured_frame
from experiments.tables import (
    aim,
    bandit_table,
    condition_table,
    mnist_table,
    network_table,
    size_table,
    summary_table,
)
from salver.core.errors import SalverError
from salver.families.instance import Facts, Instance
from salver.families.other_class import SameMap, SameTopK
from salver.judge.judgement import JudgedRun, Judgement, Outcome
from salver.judge.paired import par2_ratio
from salver.report.figures.plots import time_against
from salver.run.manifest import RunOptions
from salver.runners.answers import Claim, RunRecord
from salver.supervise.finished import Termination

V, F, T, W = Outcome.VERIFIED, Outcome.FALSIFIED, Outcome.TIMEOUT, Outcome.WRONG
LIMIT = 20.0


def instance(
    name: str, delta: float | None, index: int = 0, kind: Literal["box", "top-k"] = "box"
) -> Instance:
    question = SameMap(delta=delta) if kind == "box" and delta is not None else SameTopK(k=5)
    facts = Facts(
        family="vg_box", network="n", dataset="d", index=index, label=0, question=question, epsilon=0.05,
        input_shape=(2,), logits=2,
        saliencies=2,
    )  # fmt: skip
    return Instance(
        id=name, suite="s", name=name, onnx="", vnnlib="", vnnlib2="", network="", timeout=LIMIT,
        operators=(), facts=facts,
    )  # fmt: skip


def judged(solver: str, name: str, outcome: Outcome, wall_s: float) -> JudgedRun:
    key = f"{solver}/{name}"
    run = RunRecord(
        key=key, suite="s", instance_id=name, instance=name, family="vg_box", solver=solver,
        solver_version="1", repetition=0, limit_s=LIMIT, termination=Termination.EXITED, exit_code=0,
        signal=None, wall_s=wall_s, cpu_s=wall_s, memory_mb=10.0, claim=Claim.UNSAT, reason="",
    )  # fmt: skip
    return JudgedRun(run=run, judgement=Judgement(key=key, outcome=outcome))


def frame(
    outcomes: dict[str, list[tuple[Outcome, float]]],
    instances: list[Instance],
    unstable: list[int] | None = None,
) -> pd.DataFrame:
    """Each solver's outcome and wall seconds on the instances, in their order."""
    runs = [
        judged(solver, case.id, *result)
        for solver, results in outcomes.items()
        for case, result in zip(instances, results, strict=True)
    ]
    sizes = unstable or [10] * len(instances)
    counts = {case.id: size for case, size in zip(instances, sizes, strict=True)}
    solving = {run.run.key: run.run.wall_s / 2 for run in runs if run.run.solver == "hybrid"}
    return measured_frame(runs, {case.id: case for case in instances}, counts, solving)


FOUR = [instance("a", 0.1), instance("b", 0.2), instance("c", 0.1, 1), instance("d", None, 1, "top-k")]
COMPARED = frame(
    {
        "hybrid": [(V, 1.0), (F, 2.0), (V, 3.0), (T, 20.5)],
        "milp": [(V, 2.0), (T, 20.0), (W, 1.0), (V, 10.0)],
        "idle": [(T, 20.0), (T, 20.0), (T, 20.0), (T, 20.0)],
    },
    FOUR,
    [5, 10, 99, 2000],
)


def test_every_run_has_what_the_tables_need() -> None:
    assert set(MEASURED_COLUMNS) <= set(COMPARED.columns)
    assert COMPARED["cost_s"].tolist() == [1, 2, 3, 40, 2, 40, 40, 10, 40, 40, 40, 40]
    assert np.isnan(COMPARED.loc[COMPARED["solver"] == "milp", "solving_s"]).all()


def test_summary_counts_what_others_solved_and_what_only_this_one_did() -> None:
    table = summary_table(COMPARED).set_index("solver")
    assert list(table.index) == ["hybrid", "milp", "idle", "virtual best"]
    assert table.loc["hybrid", ["solved", "sat", "unsat", "only", "missed"]].tolist() == [
        "3/4", "1", "2", "2", "1",
    ]  # fmt: skip
    assert table.loc["milp", ["solved", "wrong", "only", "missed"]].tolist() == ["2/4", "1", "1", "2"]
    assert table.loc["idle", ["solved", "median (s)", "CPU (s)", "PAR-2 (s)", "missed"]].tolist() == [
        "0/4", "-", "-", "40.00", "4",
    ]  # fmt: skip
    assert table.loc["hybrid", ["median (s)", "CPU (s)"]].tolist() == ["2.00", "2.00"]
    assert table.loc["virtual best", ["solved", "PAR-2 (s)"]].tolist() == ["4/4", "4.00"]
    assert table.loc["milp", "PAR-2 / hybrid"].startswith("2.00 (")


def test_aim_names_the_best_other_solver() -> None:
    sentence = aim(COMPARED)
    assert sentence.startswith("hybrid misses 1 of")
    assert "0.50 times that of milp" in sentence
    assert "needs hybrid" in aim(COMPARED[COMPARED["solver"] != "hybrid"])


def test_sizes_and_conditions_count_solved_of_all() -> None:
    table = size_table(COMPARED).set_index("unstable")
    assert list(table.index) == ["0 to 9", "10 to 29", "30 to 99", "1000 and more"]
    assert table["hybrid"].tolist() == ["1/1", "1/1", "1/1", "0/1"]
    conditions = condition_table(COMPARED).set_index("condition, answer")
    assert conditions.loc[
        "|E(x) - E(xhat)|_inf <= delta, unsat", ["instances", "hybrid", "milp"]
    ].tolist() == ["2", "2/2", "1/2"]
    assert conditions.loc["top-5 set of E(x) = that of E(xhat), unsat", "milp"] == "1/1"


def test_networks_have_counts_with_wall_and_cpu_seconds() -> None:
    (row,) = network_table(COMPARED.assign(cpu_s=0.25)).to_dict("records")
    assert row == {
        "network": "n",
        "hybrid": "3/4, 6.6 / 0.2 s",
        "milp": "2/4, 8.2 / 0.2 s",
        "idle": "0/4, 20.0 / 0.2 s",
    }


def test_bandit_rows_show_the_published_verdict_beside_ours() -> None:
    cases = [instance(str(delta), delta) for delta in (0.5, 1.16, 1.17, 1.25)]
    table = bandit_table(frame({"hybrid": [(V, 0.4), (V, 0.5), (F, 0.6), (F, 0.7)]}, cases))
    assert table["truth"].tolist() == ["unsat", "unsat", "sat", "sat"]
    assert table.iloc[:, 1].tolist() == ["unsat", "-", "-", "sat"]
    assert table["hybrid"].tolist()[0] == "unsat 0.40 s, solving 0.200"
    assert table["hybrid"].tolist()[3] == "sat 0.70 s, solving 0.350"


def test_mnist_cells_are_regions_by_delta_with_counts_and_the_published_ones() -> None:
    cases = [instance(f"{i}-{d}", d, i) for i in (0, 1) for d in (1e-4, 5e-4, 1e-3)]
    runs = [(V, 1.0), (V, 2.0), (T, 60.0), (V, 1.0), (T, 60.0), (T, 60.0)]
    table = mnist_table(frame({"hybrid": runs}, cases))
    assert table["delta 0.0001"].tolist() == ["unsat 1.0 s", "unsat 1.0 s", "2 of 2", "4 of 10"]
    assert table["delta 0.001"].tolist() == ["timeout 60.0 s", "timeout 60.0 s", "0 of 2", "3 of 10"]


def test_ratio_is_of_paired_runs_and_its_interval_holds_it() -> None:
    ratio = par2_ratio(COMPARED, "milp", "hybrid")
    assert ratio.value == pytest.approx(92 / 46)
    assert ratio.low < ratio.value < ratio.high
    assert ratio.pairs == 4
    assert par2_ratio(COMPARED, "milp", "hybrid") == ratio
    assert par2_ratio(COMPARED, "hybrid", "hybrid").low == 1.0
    assert par2_ratio(COMPARED, "nobody", "hybrid").pairs == 0


def test_time_is_drawn_against_size_for_every_solver() -> None:
    plot = time_against(COMPARED, "unstable", "unstable neurons")
    assert plot is not None
    assert plot.name == "time-unstable"
    for solver in ("hybrid", "milp", "idle"):
        assert solver in plot.svg
    assert time_against(COMPARED.assign(unstable=-1), "unstable", "unstable neurons") is None


def test_unknown_table_is_one_clear_line(tmp_path) -> None:
    with pytest.raises(SalverError, match=r"paper-3.*did you mean"):
        bench.bench_solvers(tmp_path, RunOptions(), ("paper-3",))


def test_parts_without_data_are_skipped_unless_asked_for(tmp_path, monkeypatch) -> None:
    def missing(*_: object) -> None:
        raise SalverError("no data", "there", "fetch them")

    monkeypatch.setattr(bench, "instance_set", missing)
    said: list[str] = []
    with pytest.raises(SalverError, match="no table could be made"):
        bench.bench_solvers(tmp_path, RunOptions(), None, None, said.append)
    assert [line.split(":")[0] for line in said] == list(bench.PARTS)
    with pytest.raises(SalverError, match="no data"):
        bench.bench_solvers(tmp_path, RunOptions(), ("paper-1",), None, said.append)
