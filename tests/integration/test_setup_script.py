"""`scripts/setup.sh` says what it installs, how large it is and how far it is, on a pipe too."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FAKE = """#!/usr/bin/env bash
# Stands for Python: makes .venv of itself, and prints what pip prints.
case "$*" in
  --version) echo "Python 3.11.0" ;;
  "-m venv .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  *"-m pip install"*torch==*)
    echo "Collecting torch"
    echo "  Downloading torch-2.13.0-cp311.whl.metadata (31 kB)"
    echo "Downloading https://files.example/a/torch-2.13.0-cp311.whl (180.5 MB)"
    echo "Downloading small-1.0-py3.whl (2.1 MB)" ;;
  *"-m pip install"*requirements.txt*)
    echo "  Using cached scipy-1.17.0-cp311.whl (35.2 MB)"
    [ -z "${FAILS:-}" ] || { echo "ERROR: no space" >&2; exit 1; } ;;
  *version*torch*) exit 1 ;;
esac
"""


def setup(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "scripts").mkdir()
    for name in ("scripts/setup.sh", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    python = folder / "python"
    python.write_text(FAKE)
    python.chmod(0o755)
    return subprocess.run(
        [folder / "scripts" / "setup.sh"],
        env={**os.environ, "SALVER_PYTHON": str(python), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_stage_has_a_line_with_its_size(tmp_path: Path) -> None:
    done = setup(tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    lines = done.stderr.splitlines()
    assert "GB on disk" in lines[0]
    assert [line[:13] for line in lines if " of 4" in line] == [f"setup: {n} of 4" for n in range(1, 5)]
    assert "setup:   torch-2.13.0-cp311.whl (180.5 MB)" in lines
    assert "setup:   scipy-1.17.0-cp311.whl (35.2 MB)" in lines
    assert not [line for line in lines if "small" in line or "metadata" in line or "://" in line]
    assert lines[-1].startswith("setup: done in ")
    again = subprocess.run([tmp_path / "scripts" / "setup.sh"], capture_output=True, text=True, check=True)
    assert again.stderr == ""


def test_a_failure_of_pip_is_passed_on(tmp_path: Path) -> None:
    done = setup(tmp_path, FAILS="1")
    assert done.returncode == 2
    assert "ERROR: no space" in done.stderr
    assert done.stderr.splitlines()[-1] == "setup: could not install the pinned packages"
    assert not (tmp_path / ".venv" / ".salver-setup").exists()
