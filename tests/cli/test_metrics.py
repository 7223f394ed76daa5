"""`salver metrics`: a table, a folder with a page, and one line for what is wrong."""

from __future__ import annotations

import csv
import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from salver.cli.calling import call
from salver.cli.metrics import ABOUT_METRICS, MetricsArguments
from salver.metrics.measure import entry_names
from tests.builders.command_line import app
from tests.builders.small_network import classifier


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    """A network of three inputs, and a table of four points of them."""
    network = classifier(tmp_path / "net.onnx", inputs=3, seed=4)
    rows = ["a,b,c,kind", *(f"{i / 10},{1 - i / 7},{i % 3},{'xy'[i % 2]}" for i in range(20))]
    (tmp_path / "data.csv").write_text("\n".join(rows) + "\n")
    data = f'{{ path = "{tmp_path / "data.csv"}", label = "kind" }}'
    return ["metrics", str(network), "--dataset", data, "--epsilon", "0.1", "--points", "2", "--draws", "9"]


@pytest.mark.slow
def test_a_table_and_a_folder(given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "out"
    assert call(app, [*given, "--k", "1", "--timeout", "0.5", "-o", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "Max-Sensitivity           sensitivity  median       2" in shown
    assert "Consistency               relevance    mean         2" in shown
    assert sorted(path.name for path in folder.iterdir()) == ["index.html", "metrics.csv", "witnesses.npz"]
    with (folder / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 10
    for row in rows:
        sign = (
            1 if row["metric"] in ("max-sensitivity", "local-lipschitz", "relative-input-stability") else -1
        )
        assert sign * float(row["attacked"]) <= sign * float(row["certified"])
    with np.load(folder / "witnesses.npz") as found:
        assert found["max-sensitivity/x"].shape == (len(found["max-sensitivity/rows"]), 3)
        assert "top-k-intersection k=1/x" in found
    page = (folder / "index.html").read_text()
    assert "ISO/IEC 24029-2:2023" in page
    assert "http:" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "<script" not in page


def test_json_is_one_value(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(app, [*given, "--metrics", "max,cons", "--solver", "milp", "--timeout", "0.3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["metric"] for row in found["rows"]] == ["max-sensitivity", "consistency"] * 2
    assert found["rows"][0]["certified"] is None
    assert found["explanation"]["method"] == "gradient"


def test_a_method_brings_its_options(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    smooth = ["--method", "smooth", "--noise-draws", "2", "--noise-sigma", "0.1", "--metrics", "max"]
    assert call(app, [*given, *smooth, "--timeout", "0.3"]) == 0
    assert "the SmoothGrad (2 draws" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--metrics", "max-sensitivty"], "did you mean max-sensitivity?"),
        (["--metrics", "max,,top"], "has an empty name"),
        (["--metrics", "top", "--k", "3"], "--k: 3 is not between 1 and 2"),
        (["--metrics", "max", "--k", "3"], "k: no metric that is asked for has such an entry"),
        (["--method", "cam", "--metrics", "max"], "class activation map: no global average pooling"),
        (["--norm", "l3"], "--norm: 'l3' is not a choice; choose linf or l2"),
        (["--metrics", "top", "--k", "x"], "--k: 'x' is not a whole number"),
        (["--epsilon", "-1"], "--epsilon: -1.0 is too small"),
        (["--noise-draws", "3"], "--noise-draws: does not belong to gradient"),
        (["-o", "missing/out"], "folder missing: does not exist"),
    ],
)
def test_bad_input_is_one_line(
    given: list[str], options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(app, [*given, "--timeout", "0.1", *options]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_a_folder_that_is_there_is_left_alone(given: list[str], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert call(app, [*given, "-o", str(tmp_path / "out")]) == 2
    assert not list((tmp_path / "out").iterdir())


def test_every_entry_of_a_metric_is_an_option() -> None:
    assert set(ABOUT_METRICS) == entry_names()
    assert entry_names() <= {field.name for field in fields(MetricsArguments)}
