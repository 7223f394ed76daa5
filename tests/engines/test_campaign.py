"""One round of the campaign of random kills."""

from __future__ import annotations

from pathlib import Path

from tests.engines.campaign import Round


def test_nothing_is_lost_needless_or_counted_twice(tmp_path: Path) -> None:
    outcome = Round(tmp_path, seed=2, jobs=6, kills=2).play()
    assert outcome.worker_kills + outcome.coordinator_kills == 2
    assert outcome.faults == 0
