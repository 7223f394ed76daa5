"""Scores on synthetic solvers whose place is known beforehand."""

from __future__ import annotations

from itertools import product

import pandas as pd
import pytest

from salver.core.errors import SalverError
from salver.judge.judgement import JudgedRun, Judgement, Outcome
from salver.judge.scoring import (
    LEADERBOARD_COLUMNS,
    PROFILES,
    RESULT_COLUMNS,
    VIRTUAL_BEST,
    intervals,
    leaderboard,
    per_instance,
    results_frame,
    totals,
    virtual_best,
)
from salver.runners.answers import Claim, RunRecord
from salver.supervise.finished import Termination

LIMIT = 100.0
INSTANCES = [(suite, f"{suite}{number}") for suite, number in product(("easy", "hard"), range(4))]


def judged(solver: str, suite: str, instance: str, outcome: Outcome, wall_s: float) -> JudgedRun:
    key = f"{solver}/{instance}"
    run = RunRecord(
        key=key, suite=suite, instance_id=instance, instance=instance, family="vg_box", solver=solver,
        solver_version="1", repetition=0, limit_s=LIMIT, termination=Termination.EXITED, exit_code=0,
        signal=None, wall_s=wall_s, cpu_s=wall_s, memory_mb=10.0, claim=Claim.UNSAT, reason="",
    )  # fmt: skip
    return JudgedRun(run=run, judgement=Judgement(key=key, outcome=outcome))


def synthetic(solver: str, outcomes: dict[str, list[Outcome]], wall_s: float) -> list[JudgedRun]:
    """A solver with the given outcome on each of the four instances of each suite."""
    return [
        judged(solver, suite, instance, outcomes[suite][int(instance[-1])], wall_s)
        for suite, instance in INSTANCES
    ]


V, F, T, U, W = Outcome.VERIFIED, Outcome.FALSIFIED, Outcome.TIMEOUT, Outcome.UNKNOWN, Outcome.WRONG
BEST = synthetic("best", {"easy": [V, V, F, F], "hard": [V, T, F, F]}, 10.0)
SOUND = synthetic("sound", {"easy": [V, U, F, T], "hard": [T, V, T, T]}, 1.0)
LIAR = synthetic("liar", {"easy": [V, V, F, F], "hard": [V, V, W, F]}, 0.5)
FRAME = results_frame([*BEST, *SOUND, *LIAR])


def cell(board: pd.DataFrame, group: str, solver: str, column: str) -> float:
    rows = board[(board.iloc[:, 0] == group) & (board["solver"] == solver)]
    assert len(rows) == 1
    return rows[column].item()


def test_results_frame_has_the_promised_columns_also_when_empty() -> None:
    assert list(FRAME.columns) == list(results_frame([]).columns) == list(RESULT_COLUMNS)
    assert FRAME.loc[0, ["solver", "outcome", "wall_s"]].tolist() == ["best", "verified", 10.0]
    assert len(FRAME) == 24


@pytest.mark.parametrize("profile", PROFILES)
def test_counts_add_up_to_the_runs_under_every_profile(profile: str) -> None:
    board = leaderboard(FRAME, profile)
    assert list(board.columns) == ["suite", *LEADERBOARD_COLUMNS]
    assert (board[[str(outcome) for outcome in Outcome]].sum(axis="columns") == 4).all()
    assert cell(board, "hard", "best", "verified") == 1
    assert cell(board, "hard", "best", "falsified") == 2
    assert cell(board, "hard", "liar", "wrong") == 1
    assert cell(board, "easy", "sound", "unknown") == 1


def test_vnncomp_score_is_relative_to_the_best_points_of_the_benchmark() -> None:
    board = leaderboard(FRAME, "vnncomp2026")
    assert cell(board, "easy", "best", "score") == 100
    assert cell(board, "easy", "liar", "score") == 100
    assert cell(board, "easy", "sound", "score") == 50
    assert cell(board, "hard", "best", "score") == 100
    assert cell(board, "hard", "sound", "score") == pytest.approx(100 / 3)
    assert cell(board, "hard", "liar", "score") == pytest.approx(100 * (30 - 150) / 30)


def test_speed_earns_nothing_and_one_wrong_answer_loses() -> None:
    order = totals(leaderboard(FRAME))["solver"].tolist()
    assert order == ["best", "sound", "liar", VIRTUAL_BEST]


def test_the_virtual_best_does_not_lower_the_others() -> None:
    board = leaderboard(FRAME)
    assert cell(board, "hard", "best", "score") == 100
    assert cell(board, "hard", VIRTUAL_BEST, "score") == 100
    assert board.groupby("suite").tail(1)["solver"].tolist() == [VIRTUAL_BEST] * 2


@pytest.mark.parametrize(("outcomes", "scores"), [([W, T], (-1500.0, 0.0)), ([T, T], (0.0, 0.0))])
def test_scores_keep_their_sign_where_nobody_has_points(
    outcomes: list[Outcome], scores: tuple[float, float]
) -> None:
    frame = results_frame(
        [judged(solver, "s", "i", o, 1.0) for solver, o in zip("ab", outcomes, strict=True)]
    )
    board = leaderboard(frame)
    assert (cell(board, "s", "a", "score"), cell(board, "s", "b", "score")) == scores


def test_par2_charges_twice_the_limit_for_every_unsolved_run() -> None:
    board = leaderboard(FRAME, "par2")
    assert cell(board, "hard", "best", "par2") == (3 * 10.0 + 2 * LIMIT) / 4
    assert cell(board, "hard", "liar", "par2") == (3 * 0.5 + 2 * LIMIT) / 4
    assert (board["score"] == board["par2"]).all()
    assert board[board["suite"] == "hard"]["solver"].tolist() == ["liar", "best", "sound", VIRTUAL_BEST]


def test_count_is_the_number_of_solved_instances() -> None:
    board = leaderboard(FRAME, "count", by="family")
    scores = dict(zip(board["solver"], board["score"], strict=True))
    assert scores == {"best": 7, "sound": 3, "liar": 7, VIRTUAL_BEST: 8}


def test_virtual_best_takes_the_fastest_solved_run_and_never_a_wrong_one() -> None:
    rows = virtual_best(FRAME).set_index("instance")
    assert len(rows) == len(INSTANCES)
    assert (rows["solver"] == VIRTUAL_BEST).all()
    assert rows.loc["easy0", ["wall_s", "detail"]].tolist() == [0.5, "liar"]
    assert rows.loc["hard1", "outcome"] == "verified"
    assert rows.loc["hard2", ["outcome", "detail"]].tolist() == ["falsified", "best"]
    assert not (rows["outcome"] == "wrong").any()


@pytest.mark.parametrize(("verified_s", "falsified_s", "picked"), [(1.0, 2.0, "a"), (2.0, 1.0, "b")])
def test_virtual_best_prefers_neither_answer(verified_s: float, falsified_s: float, picked: str) -> None:
    clash = [judged("a", "s", "i", V, verified_s), judged("b", "s", "i", F, falsified_s)]
    assert virtual_best(results_frame(clash))["detail"].tolist() == [picked]


def test_totals_sum_counts_and_scores_and_weigh_par2_by_runs() -> None:
    uneven = results_frame([*BEST, judged("best", "third", "third0", T, 100.0)])
    whole = totals(leaderboard(uneven))
    assert (whole["suite"] == "total").all()
    assert cell(whole, "total", "best", "verified") == 3
    # 100, 100, and 0 where nobody has a point: every group weighs the same.
    assert cell(whole, "total", "best", "score") == pytest.approx(200 / 3)
    assert cell(whole, "total", "best", "par2") == pytest.approx((7 * 10.0 + 2 * 2 * LIMIT) / 9)
    assert cell(totals(leaderboard(uneven, "par2"), "par2"), "total", "best", "score") == pytest.approx(
        470 / 9
    )


def again(runs: list[JudgedRun], repetition: int, **changes: object) -> list[JudgedRun]:
    return [
        JudgedRun(
            run=one.run.model_copy(update={"repetition": repetition}),
            judgement=one.judgement.model_copy(update=changes),
        )
        for one in runs
    ]


@pytest.mark.parametrize("profile", PROFILES)
def test_repetitions_count_every_instance_once(profile: str) -> None:
    once, often = (leaderboard(results_frame(r), profile) for r in (BEST, [*BEST, *again(BEST, 1)]))
    assert once.equals(often)
    assert intervals(results_frame([*BEST, *again(BEST, 1)]))["runs"].tolist() == [4, 4]


@pytest.mark.slow
def test_an_instance_counts_as_its_median_repetition_or_as_wrong() -> None:
    first = [judged("a", "s", "i", V, 5.0)]
    shown = {
        "verified": [*first, *again(first, 1), *again(first, 2, outcome=T)],
        "timeout": [*first, *again(first, 1, outcome=T)],
        "wrong": [*first, *again(first, 1), *again(first, 2, outcome=W)],
    }
    for outcome, runs in shown.items():
        board = leaderboard(results_frame(runs))
        assert board.loc[board["solver"] == "a", outcome].tolist() == [1]
        assert per_instance(results_frame(runs))["outcome"].tolist() == [outcome]


def test_no_score_is_above_100_in_any_table() -> None:
    frame = results_frame([*BEST, *SOUND, *LIAR, *again(LIAR, 1)])
    for by in ("suite", "family"):
        board = leaderboard(frame, by=by)
        assert (board["score"] <= 100).all()
        assert (totals(board)["score"] <= 100).all()


def test_an_unfinished_run_has_no_score() -> None:
    for profile in PROFILES:
        board = leaderboard(FRAME, profile, unfinished=True)
        for table in (board, totals(board, profile)):
            assert table["score"].isna().all()
            assert table["par2"].isna().all()
        assert cell(board, "easy", "best", "verified") == 2


def test_wilson_interval() -> None:
    row = intervals(FRAME).query("suite == 'hard' and solver == 'best'").iloc[0]
    assert (row["solved"], row["runs"], row["share"]) == (3, 4, 0.75)
    # Centre (p + z^2/2n) / (1 + z^2/n) and half width by hand, z = 1.959964.
    assert (row["low"], row["high"]) == (pytest.approx(0.30064, abs=1e-5), pytest.approx(0.95441, abs=1e-5))


def test_nothing_to_score_is_an_empty_table() -> None:
    board = leaderboard(results_frame([]))
    assert board.empty
    assert list(board.columns) == ["suite", *LEADERBOARD_COLUMNS]


def test_an_unknown_profile_names_the_known_ones() -> None:
    with pytest.raises(SalverError, match=r"vnncomp2026, par2, count"):
        leaderboard(FRAME, "vnncomp2031")
