"""The way of somebody with a solver of their own, by the script that times it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.builders.tiny_suite import tiny_suite

ROOT = Path(__file__).resolve().parents[2]
SUITE = tiny_suite(1, [0.3], [1.1])


def test_from_nothing_to_the_leaderboard(tmp_path: Path) -> None:
    (tmp_path / "generators").symlink_to(ROOT / "generators")
    for name in ("benchmarks", "runners"):
        (tmp_path / name).mkdir()
    (tmp_path / "benchmarks" / "tiny.toml").write_text(SUITE)
    environment = {**os.environ, "SALVER_ROOT": str(tmp_path), "SALVER_PYTHON_BIN": sys.executable}
    done = subprocess.run(
        [str(ROOT / "scripts" / "newcomer.sh"), "tiny", "1"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "keeps the contract" in done.stdout
    assert "FAIL" not in done.stdout
    board = next(line for line in done.stdout.splitlines() if line.startswith("tiny") and "newcomer" in line)
    wrong, unsupported = (int(cell) for cell in board.split()[8:10])
    assert (wrong, unsupported) == (0, 0)
    assert "from nothing to the leaderboard" in done.stdout
    assert list((tmp_path / "runners").iterdir()) == []
