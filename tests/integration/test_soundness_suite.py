"""Liars on instances of known answer: `salver all` names them and what they were wrong about."""

from __future__ import annotations

from pathlib import Path

import pytest

from salver.families.generate import drafts
from salver.families.suite import read_suite
from salver.spec.truth import Truth
from tests.builders.command_line import salver

ROOT = Path(__file__).resolve().parents[2]
SUITE = """
title = "tiny"
timeout = 5
[[family]]
generator = "planted_sat"
params = { network = "digits-16x16", points = 1, epsilon = 0.02, attack_rounds = 1 }
[[family]]
generator = "planted_unsat"
params = { network = "digits-16x16", points = 1, epsilon = 0.008, gates = 2 }
"""
LIAR = """
import sys
from salver.runners.contract import Runner, answer_from_words

class Liar(Runner):
    name = "NAME"

    def version(self):
        return "1"

    def command(self, staged, workdir, limits):
        return [sys.executable, "-I", "-S", "SCRIPT", str(staged.vnnlib)]

    def parse(self, instance, finished):
        return answer_from_words(finished.stdout)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("liars")
    (root / "generators").symlink_to(ROOT / "generators")
    (root / "benchmarks").mkdir()
    (root / "benchmarks" / "tiny.toml").write_text(SUITE)
    (root / "runners").mkdir()
    for name, behaviour in (("yes", "sat_wrong_witness"), ("no", "unsat")):
        text = LIAR.replace("NAME", name).replace(
            "SCRIPT", str(ROOT / "tests" / "fake_solvers" / f"{behaviour}.py")
        )
        (root / "runners" / f"{name}.py").write_text(text)
    return root


def test_liars_are_named_with_their_instances(project: Path) -> None:
    done = salver(project, "all", "tiny", "--solvers", "yes,no", "-j", "1")
    wrong = [line for line in done.stdout.splitlines() if line.startswith("wrong: ")]
    (false_unsat,) = [line for line in wrong if line.startswith("wrong: no on ")]
    assert "-needle-" in false_unsat
    assert false_unsat.endswith("says verified, expected falsified (planted)")
    false_sats = [line for line in wrong if line.startswith("wrong: yes on ")]
    assert len(false_sats) == 2
    assert sum("says falsified, expected verified (planted)" in line for line in false_sats) == 1
    (page,) = (project / "reports").glob("*/index.html")
    section = page.read_text().split('id="wrong"')[1].split("</section>")[0]
    assert section.count('<th scope="row">no</th>') == 1
    assert section.count('<th scope="row">yes</th>') == 2


def test_cheap_entries_of_the_suite_have_known_answers() -> None:
    suite = read_suite("soundness")
    cheap = ("gradient_sign", "gradient_width", "label_robustness")
    chosen = tuple(entry for entry in suite.family if entry.generator in cheap)
    found = list(drafts(suite.model_copy(update={"family": chosen})))
    assert {draft.facts.family for draft in found} == set(cheap)
    assert {draft.facts.expected for draft in found} == {Truth.SAT, Truth.UNSAT}
