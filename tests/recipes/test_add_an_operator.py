"""The recipe "Add an operator" of CONTRIBUTING.md: one file more, and the whole package knows it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from salver.nets.onnx.reader import SUPPORTED

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FOLDER = "src/salver/nets/operators/"


def test_an_operator_is_one_file(tmp_path):
    shutil.copytree(
        ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    assert "LeakyRelu" not in SUPPORTED
    shutil.copy(HERE / "leaky_relu.py", tmp_path / FOLDER)
    done = subprocess.run(
        [sys.executable, HERE / "use_leaky_relu.py", tmp_path],
        env={"PYTHONPATH": str(tmp_path / "src"), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_recipe_names_the_folder_and_the_page():
    recipe = (ROOT / "CONTRIBUTING.md").read_text().split("## Add an operator")[1].split("\n## ")[0]
    assert FOLDER in recipe
    assert "docs/networks.md" in recipe


def test_the_page_names_every_operator_that_is_read():
    page = (ROOT / "docs" / "networks.md").read_text()
    assert [kind for kind in sorted(SUPPORTED) if kind not in page] == []
