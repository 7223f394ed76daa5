"""An instance set follows its suite, networks and families; two suites of one name are never mixed up."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from salver.cli.calling import call
from salver.families.generate import drafts, generate, up_to_date
from salver.families.instance_set import read_manifest, set_folder
from salver.families.provenance import MADE, read_made
from salver.families.suite import read_suite
from salver.publish.validate import validate
from tests.builders.command_line import app
from tests.builders.small_network import classifier

ROOT = Path(__file__).resolve().parents[2]
SUITE = """
title = "own"
timeout = 5
[[family]]
generator = "vg_box"
[family.params]
network = "nets/net.onnx"
dataset = "bandit"
points = 1
epsilons = [0.5]
deltas = [1.0]
keep_robust = true
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own, with its own copy of the families."""
    root = tmp_path / "project"
    shutil.copytree(ROOT / "generators", root / "generators")
    (root / "runners").symlink_to(ROOT / "runners")
    (root / "benchmarks").mkdir()
    monkeypatch.setenv("SALVER_ROOT", str(root))
    return root


def own_suite(folder: Path, seed: int = 0, text: str = SUITE) -> Path:
    (folder / "nets").mkdir(parents=True)
    classifier(folder / "nets" / "net.onnx", inputs=5, seed=seed)
    (folder / "own.toml").write_text(text)
    return folder / "own.toml"


def said(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert call(app, list(arguments)) == status
    out, err = capsys.readouterr()
    return " ".join((err if status else out).split())


def test_a_retrained_network_makes_the_set_again(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = own_suite(tmp_path / "a")
    command = ["generate", str(suite)]
    assert said(capsys, *command).endswith(": generated")
    folder = set_folder(project, read_suite(str(suite)))
    made, first = read_made(folder), read_manifest(folder)
    assert made is not None
    assert said(capsys, *command).endswith(f"up to date, made {made.date}")
    classifier(suite.parent / "nets" / "net.onnx", inputs=5, seed=1)
    assert said(capsys, *command).endswith(": generated")
    second = read_manifest(folder)
    assert second.recipe != first.recipe
    assert {i.id for i in second.instances}.isdisjoint(i.id for i in first.instances)
    assert validate(folder)[1] == []
    assert MADE not in (folder / "SHA256SUMS").read_text()


def test_run_and_publish_take_the_retrained_network_and_report_names_it(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = own_suite(tmp_path / "a", text=SUITE + '[publication]\nlicence = "MIT"\n')
    network = suite.parent / "nets" / "net.onnx"
    run = ["run", str(suite), "--solvers", "falsify", "--timeout", "5"]
    assert said(capsys, *run).startswith("own: 1 instance in ")
    assert "another file" not in said(capsys, "report", "latest")
    assert len(list((project / "reports").glob("own-????????-*"))) == 1
    classifier(network, inputs=5, seed=1)
    noted = said(capsys, "report", "latest")
    assert f"note: {os.path.relpath(network)} is another file than when these instances were made" in noted
    assert ": generated" in said(capsys, *run)
    runs = sorted((project / "reports").glob("own-*"))
    assert len(runs) == 2, "a run with other instances is another run"
    assert "up to date" in said(capsys, "publish", str(suite), "-o", str(tmp_path / "p1"))
    classifier(network, inputs=5, seed=2)
    assert ": generated" in said(capsys, "publish", str(suite), "-o", str(tmp_path / "p2"))
    first, second = (tmp_path / name / "networks" / "net.onnx.gz" for name in ("p1", "p2"))
    assert first.read_bytes() != second.read_bytes()
    assert str(tmp_path) not in (tmp_path / "p2" / "manifest.json").read_text()


def test_a_changed_family_or_text_makes_the_set_again_and_a_publication_does_not(
    project: Path, tmp_path: Path
) -> None:
    path = own_suite(tmp_path / "a")
    generate(read_suite(str(path)), project)
    assert up_to_date(read_suite(str(path)), project) is not None
    path.write_text(SUITE + '[publication]\nkeywords = ["a"]\n')
    assert up_to_date(read_suite(str(path)), project) is not None
    with (project / "generators" / "vg_box.py").open("a") as stream:
        stream.write("# changed\n")
    assert up_to_date(read_suite(str(path)), project) is None
    generate(read_suite(str(path)), project)
    assert up_to_date(read_suite(str(path)), project) is not None
    path.write_text(SUITE.replace("deltas = [1.0]", "deltas = [2.0]"))
    assert up_to_date(read_suite(str(path)), project) is None


@pytest.mark.parametrize("damage", ["salver", "packages", "files", "nothing"])
def test_a_set_is_made_again_where_anything_it_was_made_with_differs(
    project: Path, tmp_path: Path, damage: str
) -> None:
    suite = read_suite(str(own_suite(tmp_path / "a")))
    folder, _ = generate(suite, project)
    record = json.loads((folder / MADE).read_text())
    if damage == "salver":
        record["ingredients"]["salver"] = "0.0.0"
    if damage == "packages":
        record["ingredients"]["packages"]["torch"] = "1.0"
    (folder / MADE).write_text(json.dumps(record))
    if damage == "files":
        (suite.file.parent / "nets" / "net.onnx").unlink()
    assert (up_to_date(suite, project) is None) == (damage != "nothing")
    (folder / MADE).unlink()
    assert up_to_date(suite, project) is None


def test_two_suites_of_one_name_have_two_folders(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = own_suite(tmp_path / "a"), own_suite(tmp_path / "b", seed=1)
    shared = project / "benchmarks" / "own.toml"
    shared.write_text(SUITE.replace('"nets/net.onnx"\ndataset = "bandit"', '"bandit-6x6"'))
    for suite in (first, second, shared):
        assert said(capsys, "generate", str(suite)).endswith(": generated")
    for suite in (first, second, shared):
        assert "up to date" in said(capsys, "generate", str(suite))
    folders = sorted(path.name for path in (project / "instances").iterdir())
    assert folders[0] == "own"
    assert [bool(re.fullmatch(r"own-[0-9a-f]{8}", name)) for name in folders[1:]] == [True, True]
    assert read_suite("own").folder_name == read_suite(str(shared)).folder_name == "own"


def test_a_suite_without_its_network_is_refused_though_another_of_its_name_was_generated(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = own_suite(tmp_path / "a")
    assert said(capsys, "generate", str(first)).endswith(": generated")
    (tmp_path / "b").mkdir()
    shutil.copy(first, tmp_path / "b")
    monkeypatch.chdir(first.parent)
    assert "b/nets/net.onnx: does not exist" in said(capsys, "generate", "../b/own.toml", status=2)


def test_paths_in_a_suite_are_relative_to_it_from_every_folder(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = own_suite(tmp_path / "a")
    classifier(tmp_path / "a" / "nets" / "net.onnx.gz", inputs=5)
    names = set()
    for folder, spelling in ((tmp_path, "a/own.toml"), (suite.parent, "own.toml"), (project, str(suite))):
        monkeypatch.chdir(folder)
        read = read_suite(spelling)
        names.add(read.folder_name)
        assert len(list(drafts(read))) == 1
    assert len(names) == 1
    suite.write_text(SUITE.replace("net.onnx", "net.onnx.gz"))
    assert [draft.classifier_name for draft in drafts(read_suite(str(suite)))] == ["net"]


def test_two_networks_of_one_name_in_a_suite_are_refused(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = SUITE.partition("[[family]]")[2].replace("nets/", "more/").replace("[1.0]", "[2.0]")
    suite = own_suite(tmp_path / "a", text=f"{SUITE}[[family]]{again}")
    (tmp_path / "a" / "more").mkdir()
    classifier(tmp_path / "a" / "more" / "net.onnx", inputs=5, seed=3)
    assert "net: two networks of a suite have this name" in said(capsys, "generate", str(suite), status=2)
    shutil.copy(tmp_path / "a" / "nets" / "net.onnx", tmp_path / "a" / "more" / "net.onnx")
    assert said(capsys, "generate", str(suite)).startswith("own: 2 instances")


def test_what_lies_in_a_set_and_is_not_of_it_is_never_deleted(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = own_suite(tmp_path / "a")
    said(capsys, "generate", str(suite))
    note = set_folder(project, read_suite(str(suite))) / "notes.txt"
    note.write_text("mine")
    assert "holds notes.txt" in said(capsys, "generate", str(suite), "--force", status=2)
    assert note.read_text() == "mine"


def test_generate_writes_where_it_is_told_and_only_there(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite, out = own_suite(tmp_path / "a"), tmp_path / "out"
    command = ["generate", str(suite), "-o", str(out)]
    assert said(capsys, *command).endswith(": generated")
    assert validate(out)[1] == []
    assert not (project / "instances").exists()
    assert "exists already" in said(capsys, *command[:-1], str(suite), status=2)
    assert "exists already" in said(capsys, *command, status=2)
    assert "does not exist" in said(capsys, *command[:-1], str(tmp_path / "no" / "out"), status=2)


def test_more_points_than_there_are_is_said(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = own_suite(tmp_path / "a", text=SUITE.replace("points = 1", "points = 100000"))
    for _ in range(2):
        noted = said(capsys, "generate", str(suite))
        assert re.search(r"note: .*\(vg_box\): \d+ of the 100000 points asked for; no other can be", noted)


def test_suites_keep_their_folder_where_benchmarks_is_a_link(project: Path, tmp_path: Path) -> None:
    (project / "benchmarks").rename(tmp_path / "real")
    (project / "benchmarks").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "own.toml").write_text(SUITE)
    assert read_suite("own").folder_name == "own"


def test_an_interrupted_exchange_of_sets_leaves_the_old_one(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = read_suite(str(own_suite(tmp_path / "a")))
    folder, manifest = generate(suite, project)
    rename = Path.rename

    def interrupted(path: Path, target: Path) -> Path:
        if target == folder and not path.name.endswith("-old"):
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        generate(suite, project)
    monkeypatch.undo()
    assert read_manifest(folder) == manifest
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_set_that_cannot_be_made_leaves_no_folder(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = own_suite(tmp_path / "own", text=SUITE.replace("points = 1", "indices = [9999999]"))
    assert "9999999" in said(capsys, "generate", str(suite), status=2)
    assert [*(project / "instances").iterdir()] == []


def test_a_file_that_is_nearly_called_so_is_named(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own_suite(tmp_path / "own")
    monkeypatch.chdir(tmp_path / "own")
    for word in ("own", "own.tml"):
        line = said(capsys, "run", word, status=2)
        assert line == f"salver: {word}: no suite of that name; did you mean the file own.toml?"
