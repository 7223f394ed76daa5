"""The way of somebody with a solver of their own, and the script that times it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.builders.command_line import salver
from tests.builders.tiny_suite import tiny_suite

ROOT = Path(__file__).resolve().parents[2]
SUITE = tiny_suite(1, [0.3], [1.1])


def test_from_nothing_to_the_leaderboard(tmp_path: Path) -> None:
    (tmp_path / "generators").symlink_to(ROOT / "generators")
    for name in ("benchmarks", "runners"):
        (tmp_path / name).mkdir()
    (tmp_path / "benchmarks" / "tiny.toml").write_text(SUITE)
    salver(tmp_path, "new-runner", "mine")
    tried = salver(tmp_path, "test-runner", "mine", "--suite", "tiny", "--count", "1").stdout
    assert "keeps the contract" in tried
    assert "FAIL" not in tried
    salver(tmp_path, "run", "tiny", "--solvers", "mine")
    told = salver(tmp_path, "report", "latest").stdout
    board = next(line for line in told.splitlines() if line.startswith("tiny") and "mine" in line)
    wrong, unsupported = (int(cell) for cell in board.split()[8:10])
    assert (wrong, unsupported) == (0, 0)


def way(project: Path, stops_at: str = "") -> subprocess.CompletedProcess[str]:
    """The script with a Python that prints its command line, writes the runner, and may fail at a step."""
    (project / "runners").mkdir()
    python = project / "python"
    python.write_text(f"""#!/bin/sh
echo "$PWD: $@"
[ "$3" = new-runner ] && touch "runners/$(echo "$4" | tr - _).py"
[ "$3" != "{stops_at}" ]
""")
    python.chmod(0o755)
    environment = {**os.environ, "SALVER_ROOT": str(project), "SALVER_PYTHON_BIN": str(python)}
    return subprocess.run(
        [str(ROOT / "scripts" / "newcomer.sh"), "tiny", "3"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_script_goes_the_whole_way_and_leaves_no_runner(tmp_path: Path) -> None:
    done = way(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    said = [line for line in done.stdout.splitlines() if line.startswith(f"{tmp_path}: ")]
    name = said[0].split()[-1]
    assert said == [
        f"{tmp_path}: -m salver.cli {command}"
        for command in (
            f"new-runner {name}",
            f"test-runner {name} --suite tiny --count 3",
            f"run tiny --solvers {name}",
            "report latest",
        )
    ]
    assert "from nothing to the leaderboard" in done.stdout
    assert list((tmp_path / "runners").iterdir()) == []


def test_a_step_that_fails_ends_the_script(tmp_path: Path) -> None:
    done = way(tmp_path, stops_at="run")
    assert done.returncode != 0
    assert "report" not in done.stdout
    assert list((tmp_path / "runners").iterdir()) == []
