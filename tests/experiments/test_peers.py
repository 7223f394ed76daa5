"""`salver bench peers`: what is asked, and how verdicts and reasons are told."""

from __future__ import annotations

import onnx
import pandas as pd
import pytest

from experiments import peers
from experiments.kinds import KINDS, classifier_of
from experiments.peers import (
    PeerQuery,
    PeerQuestion,
    bench_peers,
    reason_table,
    suite_of,
    verdict_table,
    write_classifiers,
)
from salver.core.errors import SalverError
from salver.families.generate import drafts
from salver.families.registry import generators
from salver.run.manifest import RunOptions
from salver.runners.registry import runners

BANDIT, DIGITS = peers.SIZES


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_classifier_of_every_kind_is_sound_onnx(kind):
    model = classifier_of(kind, (1, 8, 8), 10)
    onnx.checker.check_model(model, full_check=True)
    assert classifier_of(kind, (1, 8, 8), 10) == model
    assert classifier_of(kind, (1, 8, 8), 10, seed=1) != model


def test_every_entry_gives_one_instance_and_every_family_is_asked_on_every_kind(tmp_path):
    write_classifiers(tmp_path)
    cells, suite = suite_of(tmp_path)
    small = [(c, e) for c, e in zip(cells, suite.family, strict=True) if c.size is BANDIT]
    for cell, entry in small:
        (draft,) = drafts(suite.model_copy(update={"family": (entry,)}))
        assert draft.facts.network.startswith(f"bandit-{cell.kind}")
        assert cell.label.startswith(draft.facts.family)
    asked = {entry.generator for entry in suite.family}
    # `saliency` and `lifted` ask what the others do, on the same graphs.
    assert asked == set(generators()) - {"training_pairs", "vg_paper", "saliency", "lifted"}
    for question in peers.QUESTIONS:
        if question.kinds is None:
            assert {c.kind for c in cells if c.label == question.label} == set(peers.PLAIN_KINDS)


def frame(*rows: tuple[str, str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["instance_id", "solver", "outcome", "detail"])


CELLS = {"a": PeerQuery("vg_box", "dense", BANDIT), "b": PeerQuery("vg_box", "residual", DIGITS)}


def test_wrong_answers_stand_out_and_what_was_not_run_is_a_dash():
    found = verdict_table(frame(("a", "x", "verified", ""), ("b", "x", "wrong", "clash")), CELLS, ["x", "y"])
    assert found.to_numpy().tolist() == [
        ["vg_box", "dense", "5", "verified", "-"], ["vg_box", "residual", "64", "WRONG", "-"],
    ]  # fmt: skip


def test_reasons_are_counted_and_placed():
    said = frame(
        ("a", "x", "error", "no such layer"), ("b", "x", "error", "no such layer"),
        ("a", "y", "wrong", ""), ("b", "y", "falsified", ""),
    )  # fmt: skip
    assert reason_table(said, CELLS).to_numpy().tolist() == [
        ["x", "error", "no such layer", "2", "vg_box, dense, bandit"],
        ["y", "wrong", "-", "1", "vg_box, dense, bandit"],
    ]


def test_the_bench_writes_what_it_found(tmp_path, monkeypatch, capsys):
    questions = (
        PeerQuestion("label_robustness", "label_robustness", {"bandit": {"epsilons": [0.1]}}, ("dense",)),
    )
    monkeypatch.setattr(peers, "QUESTIONS", questions)
    folder = bench_peers(tmp_path, RunOptions(solvers=("hybrid", "falsify"), workers=1, timeout=20))
    text = (folder / "peers.md").read_text()
    assert "1 core(s) and 20 s a run" in text
    verdicts = pd.read_csv(folder / "peers.csv").to_numpy().tolist()
    assert verdicts == [["label_robustness", "dense", 5, "verified", "unknown"]]
    (reason,) = pd.read_csv(folder / "peers-reasons.csv").to_numpy().tolist()
    assert reason[:2] == ["falsify", "unknown"]
    assert "verified" in capsys.readouterr().out


def test_without_any_peer_it_says_what_is_missing(monkeypatch):
    for name in peers.PEERS:
        monkeypatch.setattr(runners()[name], "unavailable", lambda self: "is not installed")
    with pytest.raises(SalverError, match="abcrown is not installed"):
        peers.available_peers()
