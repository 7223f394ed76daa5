"""The attacks on the proof checker run, and find nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.soundness import thin
from experiments.soundness.attack import CheckerAttack


@pytest.mark.parametrize("seed", [9, 14])
def test_no_deduction_excludes_a_point(seed: int) -> None:
    attack = CheckerAttack(seed)
    assert attack.points
    attack.run()
    assert attack.wrong == []


@pytest.mark.parametrize("seed", [7, 8])
def test_no_proof_of_what_a_point_hardly_meets(tmp_path: Path, seed: int) -> None:
    counts, complaints = thin.examine(tmp_path, seed, bends=1, changes=4)
    assert counts["weakened queries"] > 0
    assert complaints == []
