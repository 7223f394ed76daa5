"""Tables for readers: which columns, what is bold, and every form."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from salver.core.errors import SalverError
from salver.judge.columns import SHARES
from salver.judge.judgement import JudgedRun, ProofVerdict
from salver.judge.proofs import CheckedProof
from salver.judge.robustness import robustness
from salver.judge.verdicts import judge
from salver.report.figures.curve import curve
from salver.report.results import proofs_sentence
from salver.report.results import results as worked_out
from salver.report.table import Table, best_cells
from salver.report.tables import chosen_columns, latex_file, share_table, shares_csv, shown_share
from salver.runners.answers import Claim
from tests.builders.frames import results
from tests.builders.judged_runs import INSTANCES, loaded, run

ROWS = [
    {
        "network": network,
        "question": "same-map",
        "epsilon": epsilon,
        "outcome": outcome,
        "instance_id": f"{network}{epsilon}{number}",
    }
    for network in ("a_b", "c")
    for epsilon, verified in ((0.01, 3), (0.1, 1))
    for number, outcome in enumerate(["verified"] * verified + ["falsified"] * (4 - verified))
]
FRAME = results([*ROWS, *({**row, "solver": "x&y", "outcome": "unknown"} for row in ROWS)])


def table(*names: str) -> Table:
    shares = robustness(FRAME, ("network",))
    return share_table(shares, ("network",), chosen_columns(names or None, SHARES, shown_share(shares)))


def test_columns_are_those_asked_for_in_their_order() -> None:
    assert table("open", "verified").headings == ("network", "solver", "open", "verified [95%]")
    assert "wrong" not in table().headings
    with pytest.raises(SalverError, match="no column 'verifed'; did you mean verified"):
        table("verifed")


def test_a_table_for_a_paper() -> None:
    text = latex_file(
        [(table("verified", "open"), "By network, 95 % intervals.", "by-network")], ["Part: 3 of 9."]
    )
    assert text.startswith("% Part: 3 of 9.\n% needs \\usepackage{booktabs}\n\\begin{table}\n\\centering\n")
    assert r"\caption{Part: 3 of 9. By network, 95 \% intervals.}" in text
    assert r"a\_b & a & \textbf{50\% [22, 78]} & \textbf{0\%} \\" in text
    assert r"a\_b & x\&y & 0\% [0, 32] & 100\% \\" in text
    assert r"a\_b & virtual best & 50\% [22, 78] & 0\% \\" in text
    assert text.count(r"\midrule") == 2
    assert sorted(re.findall(r"\\begin\{(\w+)\}", text)) == sorted(re.findall(r"\\end\{(\w+)\}", text))


def test_the_best_of_a_group() -> None:
    groups, competing = [1, 1, 1, 2, 2, 3], [True, True, False, True, True, True]
    nan = float("nan")
    found = best_cells(
        groups, competing, [(2, "most", [1, 2, 9, 0, 0, 5]), (3, "least", [3, 3, 1, nan, 4, 1])]
    )
    assert found == {(1, 2), (0, 3), (1, 3), (4, 3)}


def test_markdown_and_csv_of_odd_names() -> None:
    odd = Table(("a", "b"), (("x|y", "<b>"),), 1)
    assert odd.markdown().splitlines()[-1].split(" | ")[0] == r"| x\|y"
    frame = results([{"network": "=1+1", "instance_id": "1"}, {"network": "b", "instance_id": "2"}])
    rows = shares_csv({"network": robustness(frame, ("network",))}, "1 of 2 jobs").splitlines()
    assert rows[0].startswith("unfinished,by,group,solver,instances,verified,verified_low")
    assert rows[1].startswith("1 of 2 jobs,network,'=1+1,a,1,1.0")


@pytest.mark.slow
def test_the_curve_has_a_panel_for_each_network_and_its_numbers_as_a_table() -> None:
    plot = curve(FRAME)
    assert plot is not None
    assert [row[0] for row in plot.rows] == ["a_b", "a_b", "c", "c"]
    assert plot.rows[0] == ("a_b", "0.01", "4", "75% [30, 95]", "25% [5, 70]", "0%")
    assert plot.tex.count(r"\nextgroupplot") == 2
    assert r"(0.01,0.75) += (0,0.2044) -= (0,0.4494)" in plot.tex
    assert plot.svg.startswith("<svg")


def test_no_curve_of_one_epsilon_or_none() -> None:
    assert curve(FRAME[FRAME["epsilon"] == 0.1]) is None
    assert curve(FRAME.assign(epsilon=float("nan"))) is None


@pytest.mark.slow
def test_radii_of_different_norms_are_no_points_of_one_curve() -> None:
    both = pd.concat([FRAME, FRAME.assign(norm="l2", instance_id=FRAME["instance_id"] + "-l2")])
    plot = curve(both)
    assert plot is not None
    assert {row[0] for row in plot.rows} == {
        f"{network}, same-map{norm}" for network in ("a_b", "c") for norm in ("", " (l2)")
    }


def test_proofs_are_counted_among_what_was_verified_in_time(tmp_path: Path) -> None:
    records = [run("crown", "box-1", Claim.UNSAT, 0.5), run("crown", "rank-1", Claim.UNSAT, 25.0)]
    proof = CheckedProof(subject="", verdict=ProofVerdict.CHECKED, bytes=2048, seconds=0.5)
    proofs = {records[0].key: proof}
    judgements = judge(records, INSTANCES, {}, proofs)
    rows = [JudgedRun(run=r, judgement=j) for r, j in zip(records, judgements, strict=True)]
    found = worked_out(replace(loaded(tmp_path, rows), proofs=proofs))
    assert proofs_sentence(found).startswith("proofs: 1 accepted and 0 rejected of 1 verified; ")
