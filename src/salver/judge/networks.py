"""Two networks of one run compared, question by question at the same points."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd

from salver.core.errors import SalverError, suggestion
from salver.core.records import Record
from salver.families.instance import Facts, Instance
from salver.judge.columns import cpu_cost, par2_cost
from salver.judge.compare import LEAST_PAIRS
from salver.judge.paired import Estimate, clustered_difference
from salver.judge.scoring import VIRTUAL_BEST, per_instance, virtual_best

POINT = ["dataset", "index", "label"]
KEY = ["solver", *POINT, "suite", "family", "norm", "epsilon", "asked"]
"""What two instances have in common that are a pair; see `question_key` and `_pairs`."""
Change = Literal[
    "more robust", "less robust", "decided more often", "decided less often", "no clear difference"
]


class NetworkComparison(Record, arbitrary_types_allowed=True):
    """One solver on two networks, over the pairs of instances that ask the same at the same point.

    Attributes:
        networks: the first and the second.
        pairs, points: how many; the intervals draw points, since the questions at one are not independent.
        verified, falsified, wrong: counts on either network.
        more_verified, more_falsified: mean differences, second less first, with 95 % intervals.
        par2, cpu: mean PAR-2 cost and CPU seconds on either network; CPU with twice the limit where unsolved
            for another reason than time.
        other_delta: pairs whose tolerances on the map differ, such as where they follow each network's map.
        change: what both differences say, from `LEAST_PAIRS` points on.
    """

    solver: str
    networks: tuple[str, str]
    pairs: int
    points: int
    verified: tuple[int, int]
    falsified: tuple[int, int]
    wrong: tuple[int, int]
    more_verified: Estimate
    more_falsified: Estimate
    par2: tuple[float, float]
    cpu: tuple[float, float]
    other_delta: int
    change: Change

    @property
    def verdict(self) -> str:
        """The change in words, or that there are too few points for one."""
        if self.points < LEAST_PAIRS:
            return f"too few points ({LEAST_PAIRS} are needed)"
        return self.change


def compare_networks(
    frame: pd.DataFrame,
    instances: Mapping[str, Instance],
    networks: tuple[str, str],
    solver: str | None = None,
) -> list[NetworkComparison]:
    """Compares two networks under each solver, or one, and under the virtual best.

    Args:
        frame: a `results_frame` of these instances.
        instances: by id.

    Raises:
        SalverError: no such network or solver; no question was asked of both at one point.
    """
    for option, column, names in (("--networks", "network", networks), ("--solver", "solver", [solver])):
        known = [*map(str, frame[column].unique()), *([VIRTUAL_BEST] if column == "solver" else [])]
        for name in names:
            if name is not None and name not in known:
                what = f"the run has no {column} {name[:60]!r}"
                raise SalverError(what, option, suggestion(name, known))
    counted = per_instance(frame).assign(repetition=0)
    runs = pd.concat([counted, virtual_best(counted)], ignore_index=True)
    asked = {key: question_key(one.facts) for key, one in instances.items() if one.facts is not None}
    runs = runs.assign(asked=runs["instance_id"].map(asked))
    pairs = _pairs(*(_side(runs[runs["network"] == name]) for name in networks))
    found = [
        _comparison(str(name), networks, own)
        for name, own in pairs.groupby("solver", sort=True)
        if solver in (None, name)
    ]
    if not found:
        what = f"{networks[0]} and {networks[1]} were asked nothing in common at one point"
        hint = "use a family that asks the same of each, such as training_pairs"
        raise SalverError(what, "--networks", hint)
    return sorted(found, key=lambda one: one.solver == VIRTUAL_BEST)


def question_key(facts: Facts) -> str:
    """What an instance asks, without what follows from its network: logits, E at xhat, tolerance."""
    question, explanation = facts.question, facts.explanation
    left_out = {*question.completed, "targets", "delta"}
    told = {
        "question": question.model_dump(mode="json", exclude=left_out),
        "one class": len(question.classes(facts.label, facts.logits)) == 1,
        "map": explanation and explanation.model_dump(mode="json", exclude={"logit", "minus"}),
        "difference": explanation is not None and explanation.minus is not None,
    }
    return json.dumps(told, sort_keys=True)


def _side(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs on one network with what is compared; an instance without facts is in no pair."""
    known = runs[runs["asked"].notna()]
    return known.assign(
        # A missing value is no value to be paired by.
        delta=known["delta"].fillna(-1.0),
        verified=(known["outcome"] == "verified").astype("int64"),
        falsified=(known["outcome"] == "falsified").astype("int64"),
        wrong=(known["outcome"] == "wrong").astype("int64"),
        cost=par2_cost(known),
        cpu=cpu_cost(known),
    )


def _pairs(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Pairs of the same question and tolerance; where no tolerance is in common, by their order."""
    names = ["verified", "falsified", "wrong", "cost", "cpu"]
    sides = [side[[*KEY, "delta", *names]] for side in (first, second)]
    same = sides[0].merge(sides[1], on=[*KEY, "delta"], suffixes=("_0", "_1")).assign(other_delta=0)
    met = same[KEY].drop_duplicates()
    left = []
    for side in sides:
        rest = side.merge(met, on=KEY, how="left", indicator=True)
        rest = rest[rest["_merge"] == "left_only"].drop(columns="_merge").sort_values("delta")
        left.append(rest.assign(place=rest.groupby(KEY).cumcount()).drop(columns="delta"))
    others = left[0].merge(left[1], on=[*KEY, "place"], suffixes=("_0", "_1")).assign(other_delta=1)
    return pd.concat([same, others], ignore_index=True)


def _comparison(solver: str, networks: tuple[str, str], pairs: pd.DataFrame) -> NetworkComparison:
    clusters = np.asarray(pairs.groupby(POINT, sort=True).ngroup(), np.int64)
    verified, falsified = (
        clustered_difference((pairs[f"{name}_1"] - pairs[f"{name}_0"]).to_numpy(np.float64), clusters)
        for name in ("verified", "falsified")
    )

    def means(name: str) -> tuple[float, float]:
        return float(pairs[f"{name}_0"].mean()), float(pairs[f"{name}_1"].mean())

    def counts(name: str) -> tuple[int, int]:
        return int(pairs[f"{name}_0"].sum()), int(pairs[f"{name}_1"].sum())

    return NetworkComparison(
        solver=solver,
        networks=networks,
        pairs=len(pairs),
        points=len(np.unique(clusters)),
        verified=counts("verified"),
        falsified=counts("falsified"),
        wrong=counts("wrong"),
        more_verified=verified,
        more_falsified=falsified,
        par2=means("cost"),
        cpu=means("cpu"),
        other_delta=int(pairs["other_delta"].sum()),
        change=_change(verified, falsified),
    )


def _change(verified: Estimate, falsified: Estimate) -> Change:
    """An interval on one side of 0 tells; one that says more and one that says less robust tell nothing."""
    signs = [int(np.sign(one.value)) if one.clear else 0 for one in (verified, falsified)]
    words: dict[tuple[int, ...], Change] = {
        (1, 0): "more robust", (1, -1): "more robust", (0, -1): "more robust",
        (-1, 0): "less robust", (-1, 1): "less robust", (0, 1): "less robust",
        (1, 1): "decided more often", (-1, -1): "decided less often",
    }  # fmt: skip
    return words.get(tuple(signs), "no clear difference")
