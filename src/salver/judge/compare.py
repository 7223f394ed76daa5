"""Two runs compared, solver by solver and pair by pair, so that noise is not taken for progress."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from salver.core.errors import SalverError
from salver.core.records import Record
from salver.judge.columns import SOLVED, cpu_cost, par2_cost
from salver.judge.machine import Machine
from salver.judge.paired import Estimate, ratio_of_sums

Change = Literal["better", "worse", "no clear difference"]
LEAST_PAIRS = 10
"""With fewer the interval of a bootstrap is far too narrow, so there is no verdict."""
MARGIN = 1.1
"""A ratio up to this, either way, is never called a difference: so much a machine's load alone can do."""
MUST_AGREE = ("system", "processor", "cores", "memory_mb", "python")
"""Facts of two machines without which seconds cannot be compared."""


class Comparison(Record):
    """One solver in two runs, over the instances that both have.

    Attributes:
        instances: pairs; repetitions are averaged before pairing.
        solved: expected number of solved instances in either run.
        gained, lost: instances solved (in every repetition) in the second run alone, in the first alone.
        wrong: wrong answers in either run.
        par2: mean PAR-2 cost in seconds in either run.
        ratio, low, high: PAR-2 of the second divided by that of the first, with a 95 % interval: percentile
            bootstrap over instances (Efron & Tibshirani, 1993, ch. 13), the same on every call.
        cpu_ratio, cpu_low, cpu_high: the same of CPU time, over the pairs that either run solved. A timeout
            counts with the CPU time it had, since a loaded machine gives less in the same wall time. NaN
            where there is no such pair.
        versions: of the solver in either run.
        change: `better` or `worse` where there are `LEAST_PAIRS` and the intervals of both ratios lie
            beyond `MARGIN`: wall time alone says as much about the machine's load as about the solver.
    """

    solver: str
    instances: int
    solved: tuple[float, float]
    gained: tuple[str, ...]
    lost: tuple[str, ...]
    wrong: tuple[int, int]
    par2: tuple[float, float]
    ratio: float
    low: float
    high: float
    cpu_ratio: float
    cpu_low: float
    cpu_high: float
    versions: tuple[str, str]
    change: Change

    @property
    def verdict(self) -> str:
        """The change in words, or that there are too few pairs for one."""
        if self.instances < LEAST_PAIRS:
            return f"too few pairs ({LEAST_PAIRS} are needed)"
        return self.change


def compare(first: pd.DataFrame, second: pd.DataFrame) -> list[Comparison]:
    """Compares the solvers that two `results_frame`s share.

    Raises:
        SalverError: they share no solver on any instance, or ran a shared solver under different limits.
    """
    compared = []
    for solver in sorted(set(first["solver"]) & set(second["solver"])):
        sides = [frame[frame["solver"] == solver] for frame in (first, second)]
        limits = [set(side["limit_s"]) for side in sides]
        if limits[0] != limits[1]:
            told = " and ".join(", ".join(f"{value:g} s" for value in sorted(limit)) for limit in limits)
            raise SalverError(
                f"its limits are {told}", f"solver {solver}", "compare runs with the same limits"
            )
        tables = [_per_instance(side) for side in sides]
        pairs = tables[0].merge(tables[1], left_index=True, right_index=True, suffixes=("_0", "_1"))
        if len(pairs):
            first_version, second_version = (_versions(side) for side in sides)
            compared.append(_comparison(solver, pairs, (first_version, second_version)))
    if not compared:
        raise SalverError(
            "the runs share no solver on any instance", hint="run one suite with the same solvers"
        )
    return compared


def differences_between(first: Machine, second: Machine) -> list[str]:
    """What differs between the machines and packages of two runs, one line each."""
    facts = [(name, getattr(first, name), getattr(second, name)) for name in MUST_AGREE]
    lines = [f"{name}: {one} and {other}" for name, one, other in facts if one != other]
    packages = [machine.packages for machine in (first, second)]
    for name in sorted(set(packages[0]) | set(packages[1])):
        versions = [found.get(name, "missing") for found in packages]
        if versions[0] != versions[1]:
            lines.append(f"{name}: {versions[0]} and {versions[1]}")
    return lines


def _per_instance(frame: pd.DataFrame) -> pd.DataFrame:
    marked = frame.assign(
        solved=frame["outcome"].isin(SOLVED).astype("float64"),
        cost=par2_cost(frame),
        cpu=cpu_cost(frame),
        wrong=frame["outcome"] == "wrong",
    )
    groups = marked.groupby(["suite", "instance_id"])
    return groups.agg(
        instance=("instance", "first"),
        solved=("solved", "mean"),
        cost=("cost", "mean"),
        cpu=("cpu", "mean"),
        wrong=("wrong", "sum"),
    )


def _versions(frame: pd.DataFrame) -> str:
    return ", ".join(sorted(set(frame["solver_version"]))) if "solver_version" in frame else ""


def _change(pairs: int, wall: Estimate, cpu: Estimate) -> Change:
    if pairs < LEAST_PAIRS:
        return "no clear difference"
    if wall.high < 1 / MARGIN and cpu.high < 1 / MARGIN:
        return "better"
    return "worse" if wall.low > MARGIN and cpu.low > MARGIN else "no clear difference"


def _comparison(solver: str, pairs: pd.DataFrame, versions: tuple[str, str]) -> Comparison:
    costs = pairs[["cost_0", "cost_1"]].to_numpy(np.float64)
    either = pairs[(pairs["solved_0"] > 0) | (pairs["solved_1"] > 0)]
    wall, cpu = ratio_of_sums(costs), ratio_of_sums(either[["cpu_0", "cpu_1"]].to_numpy(np.float64))
    gained = pairs[(pairs["solved_1"] == 1) & (pairs["solved_0"] < 1)]["instance_0"]
    lost = pairs[(pairs["solved_0"] == 1) & (pairs["solved_1"] < 1)]["instance_0"]
    return Comparison(
        solver=solver,
        instances=len(pairs),
        solved=(float(pairs["solved_0"].sum()), float(pairs["solved_1"].sum())),
        gained=tuple(sorted(gained)),
        lost=tuple(sorted(lost)),
        wrong=(int(pairs["wrong_0"].sum()), int(pairs["wrong_1"].sum())),
        par2=(float(costs[:, 0].mean()), float(costs[:, 1].mean())),
        ratio=wall.value,
        low=wall.low,
        high=wall.high,
        cpu_ratio=cpu.value,
        cpu_low=cpu.low,
        cpu_high=cpu.high,
        versions=versions,
        change=_change(len(pairs), wall, cpu),
    )
