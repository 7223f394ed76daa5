"""The tables of `salver bench training`: pure functions from judged runs to text cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from salver.core.errors import SalverError
from salver.families.instance import Facts, Instance, Training
from salver.judge.columns import SOLVED
from salver.judge.judgement import JudgedRun
from salver.judge.paired import Estimate, crossed_difference
from salver.judge.scoring import results_frame

PLAIN = "plain"
QUESTIONS = {
    "label-changes": "Label robustness: no other class in the box",
    "same-map": "Saliency robustness (vg_box): no other class with the same saliency in the box",
    "top-k-changes": "Ranking stability (topk_rank): the same top-k features wherever the label is kept",
}
_NAMES = {
    "wd": "weight decay",
    "softplus": "softplus training",
    "guided": "saliency-guided training",
    "r2et": "R2ET",
    "adv": "adversarial training",
}


@dataclass(frozen=True)
class NetworkAccuracy:
    """Shares of the test set a network gets right: as it is, under FGSM, under FGSM and PGD."""

    regime: str
    seed: int
    epsilon: float
    clean: float
    fgsm: float
    pgd: float


def training_frame(judged: Sequence[JudgedRun], instances: Mapping[str, Instance]) -> pd.DataFrame:
    """`results_frame` with question, regime, network_seed, index, epsilon, delta and delta_over_saliency."""
    frame = results_frame(judged)
    facts = [instances[name].known for name in frame["instance_id"]]
    nan = float("nan")
    relative = [fact.vacuity.delta_over_saliency for fact in facts]
    return frame.assign(
        question=[fact.question.kind for fact in facts],
        regime=[training_of(fact).regime for fact in facts],
        network_seed=[training_of(fact).network_seed for fact in facts],
        index=[fact.index for fact in facts],
        epsilon=[fact.epsilon for fact in facts],
        delta=[nan if (delta := fact.question.tolerance) is None else delta for fact in facts],
        delta_over_saliency=[nan if value is None else value for value in relative],
    )


def network_table(measured: Sequence[NetworkAccuracy]) -> pd.DataFrame:
    """One row per regime: accuracies in percent, mean over the seeds with their range."""
    rows = []
    for regime in _regimes(m.regime for m in measured):
        own = [m for m in measured if m.regime == regime]
        epsilon = own[0].epsilon
        rows.append(
            {
                "regime": regime,
                "accuracy %": _range_cell([m.clean for m in own]),
                f"FGSM {epsilon:g} %": _range_cell([m.fgsm for m in own]),
                f"PGD {epsilon:g} %": _range_cell([m.pgd for m in own]),
            }
        )
    return pd.DataFrame(rows)


def training_of(facts: Facts) -> Training:
    """How the network of an instance of training_pairs was trained.

    Raises:
        SalverError: the instance is of another family.
    """
    if facts.training is None:
        hint = "use a suite of training_pairs alone"
        raise SalverError("does not say how its network was trained", f"instance of {facts.family}", hint)
    return facts.training


def question_table(frame: pd.DataFrame, question: str) -> pd.DataFrame:
    """One row per regime: counts, and verified and falsified shares minus plain's on the same pairs.

    Differences are in percentage points with 95 % intervals over seeds and points.
    """
    own = frame[frame["question"] == question]
    rows = []
    for regime in _regimes(own["regime"]):
        runs = own[own["regime"] == regime]
        verified, falsified = ((runs["outcome"] == word).sum() for word in SOLVED)
        row = {
            "regime": regime,
            "verified": str(verified),
            "falsified": str(falsified),
            "undecided": str(len(runs) - verified - falsified),
            "of": str(len(runs)),
        }
        for word in SOLVED:
            difference = share_difference(own, regime, word) if regime != PLAIN else None
            row[f"{word} - plain"] = _difference_cell(difference)
        if question == "same-map":
            row["median delta / max saliency"] = f"{runs['delta_over_saliency'].median():.2f}"
        rows.append(row)
    return pd.DataFrame(rows)


def share_difference(own: pd.DataFrame, regime: str, outcome: str) -> Estimate:
    """Share of an outcome in a regime minus that in the plain one, on the same seeds and points.

    Args:
        own: runs of one question; pairs are matched by training seed and test point, and what a point
            is asked several times (radii, tolerances) is averaged first.
    """
    cells = {
        name: own[own["regime"] == name]
        .assign(hit=lambda runs: (runs["outcome"] == outcome).astype(float))
        .pivot_table(index="network_seed", columns="index", values="hit", aggfunc="mean")
        for name in (regime, PLAIN)
    }
    table: npt.NDArray[np.float64] = (cells[regime] - cells[PLAIN]).to_numpy(np.float64)
    return crossed_difference(table)


def answers(frame: pd.DataFrame) -> list[str]:
    """One sentence per question and regime: whether verified counts move, and by how much."""
    sentences = []
    for question in _questions(frame):
        own = frame[frame["question"] == question]
        for regime in _regimes(own["regime"]):
            if regime != PLAIN:
                difference = share_difference(own, regime, "verified")
                sentences.append(_sentence(question, regime, difference))
    return sentences


def _sentence(question: str, regime: str, difference: Estimate) -> str:
    name = _NAMES.get(regime, regime)
    if difference.pairs == 0:
        return f"{question}: {name} shares no seed and point with plain training."
    if difference.clear:
        moved = "raises" if difference.value > 0 else "lowers"
        what = f"{name} {moved} the verified share by {abs(100 * difference.value):.0f} points"
    else:
        what = f"no clear effect of {name} on the verified share: {100 * difference.value:+.0f} points"
    return (
        f"{question}: {what} (95 % interval {100 * difference.low:+.0f} to {100 * difference.high:+.0f}, "
        f"{difference.pairs} pairs)."
    )


def _questions(frame: pd.DataFrame) -> list[str]:
    return [question for question in QUESTIONS if (frame["question"] == question).any()]


def _regimes(names: Iterable[str]) -> list[str]:
    """Distinct names: plain first, then in the order of the known ones, then the others."""
    present = set(names)
    known = [name for name in (PLAIN, *_NAMES) if name in present]
    return [*known, *sorted(present - set(known))]


def _range_cell(shares: Sequence[float]) -> str:
    values = 100 * np.asarray(shares)
    return f"{values.mean():.1f} ({values.min():.1f} to {values.max():.1f})"


def _difference_cell(difference: Estimate | None) -> str:
    if difference is None or difference.pairs == 0:
        return "-"
    value, low, high = (100 * v for v in (difference.value, difference.low, difference.high))
    return f"{value:+.0f} ({low:+.0f} to {high:+.0f})"
