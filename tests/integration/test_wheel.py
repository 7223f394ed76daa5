"""A wheel, used from an empty folder as somebody would who installed it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.builders.small_network import classifier

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("src", "benchmarks", "generators", "runners", "setup.py", "pyproject.toml", "README.md", "LICENSE")
SUITE = """
title = "one point"
timeout = 10
[[family]]
generator = "vg_box"
[family.params]
network = "bandit-6x6"
points = 1
epsilons = [0.5]
delta_factors = [0.5]
"""
USE = """
import sys
from salver.cli.app import app
from salver.cli.calling import call
import salver

if __name__ == "__main__":
    for words in sys.argv[1:]:
        print("==", words, flush=True)
        status = call(app, words.split())
        print("status", status, flush=True)
    print(salver.__file__)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel, which was built from a copy, without network."""
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("setuptools is not installed")
    copy, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for name in SOURCES:
        whole = (ROOT / name).is_dir()
        (shutil.copytree if whole else shutil.copy)(ROOT / name, copy / name)
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(target)], cwd=copy, check=True, capture_output=True)
    (wheel,) = target.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(target)
    return target


@pytest.mark.parametrize("folder", ["benchmarks", "generators", "runners"])
def test_a_wheel_holds_what_the_top_level_holds(site: Path, folder: str) -> None:
    own = {path.name for path in (ROOT / folder).iterdir() if path.is_file()}
    assert {path.name for path in (site / "salver" / "shipped" / folder).iterdir()} == own


def test_an_installed_copy_works_in_an_empty_folder(site: Path, tmp_path: Path) -> None:
    classifier(tmp_path / "net.onnx", inputs=3, seed=4)
    np.save(tmp_path / "x.npy", np.array([0.3, -0.2, 0.5], np.float32))
    (tmp_path / "tiny.toml").write_text(SUITE)
    (tmp_path / "use.py").write_text(USE)
    words = [
        "suites",
        "families topk_rank",
        "unroll net.onnx -o grad.onnx --label 0",
        "check net.onnx --point x.npy --question top-k --k 1 --epsilon 0.01",
        "run tiny.toml --solvers hybrid -j 1",
        "doctor",
    ]
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    environment.pop("SALVER_ROOT", None)
    done = subprocess.run(
        [sys.executable, "use.py", *words],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.count("status 0") == len(words), done.stdout + done.stderr
    assert done.stdout.rstrip().endswith(str(site / "salver" / "__init__.py"))
    assert "\nRobust: " in done.stdout
    for folder in ("instances", "reports"):
        assert list((tmp_path / folder).glob("tiny-*"))
    assert not (site / "salver" / "instances").exists()
