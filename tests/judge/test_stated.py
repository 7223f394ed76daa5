"""Witnesses of queries of which nothing is known but their text."""

from __future__ import annotations

from pathlib import Path

import pytest

from salver.families.given import opened
from salver.judge.judgement import WitnessVerdict
from salver.judge.loaded import read_set
from salver.judge.stated import as_stated
from salver.judge.witness import Replay
from tests.builders.given_sets import BOX, PAIR, benchmark

ROW = "onnx/a.onnx,vnnlib/sat.vnnlib,5\n"
PAIR_ROW = "[('f','onnx/a.onnx'),('g','onnx/sub/b.onnx')],vnnlib/pair.vnnlib,5\n"
MULTI = BOX + "(assert (or (and (<= X_0 -0.5) (<= Y_0 0)) (and (>= X_0 0.5) (> (* 2 Y_0) 3))))"


def replayed(folder: Path, text: str, witness: str | None, *, row: str = ROW) -> Replay:
    """y = 2 relu(x), and y = 3 relu(z) for the second network."""
    benchmark(folder, rows=row)
    (folder / "vnnlib" / ("pair" if row is PAIR_ROW else "sat")).with_suffix(".vnnlib").write_text(text)
    with opened(folder) as found:
        loaded = read_set(found.folder)
        return as_stated(loaded[found.manifest.instances[0].id], witness)


@pytest.mark.parametrize(
    ("text", "x", "verdict", "detail"),
    [
        (MULTI, "-0.5", "correct", ""),
        (MULTI, "0.75", "invalid", "condition 3 of the query is missed by 0"),
        (MULTI, "0.7500001", "correct", ""),
        (MULTI, "0.0", "invalid", "missed by"),
        (MULTI, "-0.49999", "up_to_tolerance", "condition 3 of the query is missed by 1e-05, within"),
        (MULTI, "-1.00005", "up_to_tolerance", "condition 1 of the query is missed by 4.99e-05, within"),
        (MULTI, "-1.001", "invalid", "condition 1"),
        (MULTI, "1e39", "invalid", "infinite"),
        (BOX + "(assert (> X_0 0.5))", "0.5", "up_to_tolerance", "within"),
        (BOX + "(assert (<= X_0 0.3))", "0.3", "up_to_tolerance", "missed by 1.19e-08"),
        (BOX + "(assert (<= X_0 0.029999999329447746))", "0.03", "correct", ""),
        (BOX + "(assert (>= (- X_0) -0.029999999329447746))", "0.03", "correct", ""),
        (BOX + "(assert (<= (* X_0 X_0) 0.25))", "0.5", "correct", ""),
        (BOX + "(assert (or))", "0.5", "invalid", "condition 3"),
        (BOX + "(assert (>= Y_0 1.00001))", "0.5", "invalid", "condition 3"),
    ],
)
def test_what_the_text_says_decides(tmp_path, text, x, verdict, detail):
    found = replayed(tmp_path, text, f"sat\n((X_0 {x})\n(Y_0 77))")
    assert (found.verdict, detail in found.detail) == (verdict, True), found.detail


@pytest.mark.parametrize(
    ("witness", "verdict"),
    [
        (None, "missing"),
        ("sat\n", "missing"),
        ("((X_0 nan))", "malformed"),
        ("((Y_0 1))", "malformed"),
        ("X real [1,1]\n0.5\nY real [1,1]\n1.0", "correct"),
    ],
)
def test_a_witness_is_read_in_either_form(tmp_path, witness, verdict):
    assert replayed(tmp_path, BOX + "(assert (>= Y_0 1))", witness).verdict == verdict


def test_a_witness_over_two_networks_has_every_input(tmp_path):
    good = "X real [1,1]\n0.75\nY real [1,1]\n0\nZ real [1,1]\n0.75\nW real [1,1]\n0"
    assert replayed(tmp_path, PAIR, good, row=PAIR_ROW).outputs == (1.5, 2.25)
    for text, verdict in (
        (good, "correct"),
        (good.replace("0.75", "0.5"), "invalid"),
        (good.replace("0.75", "0.75001", 1), "up_to_tolerance"),
        ("X real [1,1]\n0.75", "malformed"),
    ):
        assert replayed(tmp_path, PAIR, text, row=PAIR_ROW).verdict == verdict, text
    equal = PAIR.replace("isomorphic-to", "equal-to")
    alone = "[('f','onnx/a.onnx')],vnnlib/pair.vnnlib,5\n"
    benchmark(tmp_path / "e", rows=alone)
    (tmp_path / "e" / "vnnlib" / "pair.vnnlib").write_text(equal)
    with opened(tmp_path / "e") as found:
        judged = as_stated(read_set(found.folder)[found.manifest.instances[0].id], good)
    assert (judged.verdict, judged.outputs) == (WitnessVerdict.INVALID, (1.5, 1.5))


@pytest.mark.parametrize(
    "text", [BOX + "(assert", BOX + "(declare-const X_1 Real)", PAIR, BOX + "(assert (>= (sin X_0) 0))"]
)
def test_what_the_judge_cannot_check_is_nobodys_fault(tmp_path, text):
    found = replayed(tmp_path, text, "((X_0 0.5)(X_1 0.5)(Z_0 0.5))")
    assert found.verdict is WitnessVerdict.UNCHECKABLE
    assert found.detail
