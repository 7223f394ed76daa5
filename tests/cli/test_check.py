"""`salver check`: what it says, writes and exits with."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from salver.points.entries import all_entries
from tests.builders.command_line import salver
from tests.builders.small_network import classifier
from tests.docs.commands import leaves

X = np.array([0.3, -0.2, 0.5], np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    classifier(tmp_path / "net.onnx", inputs=3, seed=4)
    np.save(tmp_path / "x.npy", X)
    return tmp_path


def ask(folder: Path, *more: str, check: bool = False) -> tuple[int, str, str]:
    words = ("check", "net.onnx", "--point", "x.npy", "--question", "top-k", "--k", "1", *more)
    return salver(folder, *words, check=check)


def test_robust_is_status_0(folder: Path) -> None:
    status, out, err = ask(folder, "--epsilon", "0.01", "--witness", "w.npy")
    assert (status, err) == (0, "")
    assert out.startswith(
        "Robust: within 0.01 there is no input at which the largest entry of the map is another one"
    )
    assert not (folder / "w.npy").exists()


@pytest.mark.slow
def test_not_robust_is_status_1_and_leaves_what_was_asked_for(folder: Path) -> None:
    status, out, err = ask(folder, "--epsilon", "1", "--witness", "w.npy", "--picture", "out.html")
    assert (status, err) == (1, "")
    sentence = out.splitlines()[0]
    assert sentence.startswith("Not robust: within 1 there is an input at which")
    witness, page = np.load(folder / "w.npy"), (folder / "out.html").read_text()
    assert witness.shape == X.shape
    assert 0 < np.abs(witness - X).max() <= 1
    assert sentence in page
    assert page.count("<img") == 4
    assert set(re.findall(r'(?:src|href)="(.{5})', page)) == {"data:"}


def test_a_euclidean_radius_is_smaller_than_the_box_of_its_size(folder: Path) -> None:
    status, out, err = ask(folder, "--epsilon", "0.3", "--norm", "l2")
    assert (status, err) == (0, "")
    assert out.startswith("Robust: within 0.3 in the Euclidean norm there is no input at which")


def test_an_unknown_norm_is_one_line(folder: Path) -> None:
    status, out, err = ask(folder, "--epsilon", "0.3", "--norm", "L2")
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert "norm: " in err
    assert "did you mean l2?" in err


def test_undecided_is_status_3(folder: Path) -> None:
    status, out, _ = ask(folder, "--epsilon", "0.01", "--solver", "falsify", "--timeout", "0.2")
    assert status == 3
    assert out.startswith("Undecided after")


def test_json_is_one_value(folder: Path) -> None:
    status, out, _ = ask(folder, "--epsilon", "1", "--json")
    found = json.loads(out)
    assert status == 1
    assert found["verdict"] == "not robust"
    assert found["question"]["k"] == 1
    assert len(found["counterexample"]["x"]) == len(found["map"]) == 3


@pytest.mark.slow
def test_a_file_that_is_there_is_not_written_over(folder: Path) -> None:
    for option, name in (("--picture", "p.html"), ("--witness", "w.npy"), ("--proof", "q")):
        (folder / name).write_text("mine")
        status, out, err = ask(folder, "--epsilon", "1", option, name)
        assert (status, out) == (2, "")
        assert err == f"salver: {name}: exists already; choose another name, or replace it with --force\n"
    assert ask(folder, "--epsilon", "1", "--picture", "p.html", "--force")[0] == 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--epsilon", "0"), "epsilon: 0.0 is too small"),
        (("--epsilon", "1", "--delta", "2"), "delta: does not belong to top-k-changes or gradient"),
        (("--epsilon", "1", "--noise-draw", "2"), "did you mean --noise-draws?"),
        (("--epsilon", "1", "--range", "0", "1"), "--range: 0 to 1 excludes the point"),
        (("--epsilon", "1", "--witness", "w.txt"), "w.txt: is no name of an array; let it end in .npy"),
        (("--epsilon", "1", "--picture", "p.gif"), "p.gif: is no name of a picture; let it end in .html"),
    ],
)
def test_bad_input_is_one_line_and_status_2(folder: Path, more: tuple[str, ...], said: str) -> None:
    status, out, err = ask(folder, *more)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_every_entry_of_a_question_or_method_is_an_option() -> None:
    (command,) = [found for path, found in leaves() if path == ("check",)]
    options = {name for parameter in command.params for name in parameter.opts}
    assert {f"--{name.replace('_', '-')}" for name in all_entries()} <= options


@pytest.mark.slow
def test_an_answer_imports_neither_torch_nor_what_draws(folder: Path) -> None:
    """Each takes longer to import than a small network takes to be decided."""
    code = (
        "import sys; from salver.cli.app import app; from salver.cli.calling import call;"
        "call(app, sys.argv[1:]); print([m for m in ('torch', 'pandas', 'altair') if m in sys.modules])"
    )
    words = ("check", "net.onnx", "--point", "x.npy", "--question", "top-k", "--k", "1", "--epsilon", "1")
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("Not robust: ")
    assert done.stdout.endswith("\n[]\n")
