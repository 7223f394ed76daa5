"""Every command in README.md and docs/: what is quick is run, and all of it must parse."""

from __future__ import annotations

import gzip
import json
import runpy
import shutil
import sys
import tomllib
import warnings
from pathlib import Path

import numpy as np
import pytest

from salver.core.records import parse_record
from salver.families.generate import drafts
from salver.families.publication import Publication
from salver.families.suite import read_suite
from tests.builders.command_line import salver
from tests.docs.commands import ROOT, SHELLS, Block, all_options, blocks, complaint, documents, is_ours, spans
from tests.docs.running import Session

TINY = """
title = "one point"
timeout = 10
[[family]]
generator = "vg_box"
[family.params]
network = "NETWORK"
points = 1
skip = 1
epsilons = [0.5]
"""
KNOWN = "delta_factors = [0.5, 3.0]\nenumerate = true\n"
SMALL = {
    "bandit": TINY.replace("NETWORK", "bandit-6x6") + KNOWN,
    "digits": TINY.replace("NETWORK", "digits-16x16") + "delta_factors = [0.5]\n",
    "quick": TINY.replace("NETWORK", "bandit-6x6") + KNOWN,
}
UNSAT = "d2.02"
TOUR = ROOT / "docs" / "tour.md"
OWN = ROOT / "docs" / "own-network.md"


def bare_project(root: Path) -> Path:
    """A project of its own with this checkout's generators, runners, commands and folders."""
    for name in ("generators", "experiments", "tests", "scripts"):
        (root / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "runners", root / "runners")
    (root / "benchmarks").mkdir()
    (root / "instances" / "published").mkdir(parents=True)
    (root / ".venv").mkdir()
    (root / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    script = root / "run_all.sh"
    script.write_text('#!/usr/bin/env bash\nexec salver all "$@"\n')
    script.chmod(0o755)
    return root


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose suites are tiny, with a query and a network as the texts name them."""
    root = bare_project(tmp_path_factory.mktemp("project"))
    for name, text in SMALL.items():
        (root / "benchmarks" / f"{name}.toml").write_text(text)
    for suite in ("bandit", "digits"):
        salver(root, "generate", suite)
    made = root / "instances" / "bandit" / "1-s0"
    (query,) = (made / "vnnlib").glob(f"*-{UNSAT}-*")
    (root / "q.vnnlib").write_bytes(gzip.decompress(query.read_bytes()))
    shutil.copy(next((made / "onnx").iterdir()), root / "m.onnx")
    shutil.copy(root / "instances" / "digits" / "1-s0" / "networks" / "digits-16x16.onnx", root / "net.onnx")
    return root


def json_values(text: str) -> list[object]:
    """JSON values printed one after another, and nothing else.

    Raises:
        ValueError: there is something else.
    """
    found = []
    while text := text.strip():
        value, end = json.JSONDecoder().raw_decode(text)
        found.append(value)
        text = text[end:]
    return found


def runnable(file: Path) -> list[Block]:
    return [block for block in blocks(file) if block.commands and not block.mark]


@pytest.mark.slow
def test_every_quick_command_runs(project: Path) -> None:
    """In the order of the documents; the README's runs are the `latest` of the pages after it."""
    failed = []
    for block in (block for file in documents() if file not in (TOUR, OWN) for block in runnable(file)):
        done = Session(project).run(block.commands)
        if done.returncode != 0:
            failed.append(f"{block.where}: {done.stdout[-500:]}{done.stderr[-1000:]}")
        elif all("--json" in line for line in block.commands):
            assert len(json_values(done.stdout)) == len(block.commands)
    assert not failed, "\n".join(failed)


@pytest.mark.slow
def test_the_tour_is_as_it_says(tmp_path: Path) -> None:
    """Block by block: all lines of text after one must be among what it printed."""
    project = bare_project(tmp_path)
    reader, printed = Session(project), []
    for block in blocks(TOUR):
        if block.language == "toml":
            (project / block.file_name).write_text("\n".join(block.lines))
        elif block.commands and not block.mark:
            done = reader.run(block.commands)
            assert done.returncode == 0, f"{block.where}: {done.stderr}"
            printed = [" ".join(line.split()) for line in done.stdout.splitlines()]
        elif block.language == "text":
            for line in block.lines:
                wanted = " ".join(line.split())
                assert any(wanted in found for found in printed), f"{block.where}: not printed: {line!r}"


@pytest.mark.slow
def test_the_page_on_own_networks_is_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first suite goes all the way in processes of its own; the others are drawn from here."""
    project = bare_project(tmp_path)
    for block in blocks(OWN):
        if block.file_name:
            (project / block.file_name).write_text("\n".join(block.lines))
        elif block.language == "toml":
            stated = tomllib.loads("\n".join(block.lines))["publication"]
            assert parse_record(Publication, stated, OWN.name).data
    commands = [line for block in runnable(OWN) for line in block.commands]
    done = Session(project).run(commands)
    assert done.returncode == 0, done.stderr
    assert "hybrid" in done.stdout
    monkeypatch.chdir(project)
    arrays = np.load("iris.npz")
    np.savez("plain.npz", x=arrays["x"], y=arrays["y"])
    np.save("x.npy", arrays["x"][7])
    left = [block for block in blocks(OWN) if block.file_name and block.file_name not in " ".join(commands)]
    for block in left:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if block.language == "python":
                runpy.run_path(block.file_name)
            else:
                assert list(drafts(read_suite(block.file_name))), block.where
    Path("iris.onnx").rename("net.onnx")
    Path("iris.npz").rename("data.npz")
    (suite,) = [block for block in blocks(ROOT / "README.md") if block.file_name == "mine.toml"]
    Path(suite.file_name).write_text("\n".join(suite.lines))
    assert list(drafts(read_suite(suite.file_name)))


@pytest.mark.slow
def test_every_command_parses() -> None:
    wrong = [
        f"{block.where}: {line}: {told}"
        for file in documents()
        for block in blocks(file)
        for line in block.commands
        if is_ours(line) and (told := complaint(line)) is not None
    ]
    wrong += [
        f"{file.name}:{number}: {span}: {told}"
        for file in documents()
        for number, span in spans(file)
        if is_ours(span) and (told := complaint(span, complete=False)) is not None
    ]
    assert not wrong, "\n".join(wrong)


def test_every_option_in_a_text_exists() -> None:
    known = all_options()
    wrong = [
        f"{file.name}:{number}: {span}"
        for file in documents()
        for number, span in spans(file)
        if span.startswith("--") and span.split()[0].partition("=")[0] not in known
    ]
    assert not wrong, "\n".join(wrong)


def test_blocks_are_marked_as_it_should_be() -> None:
    """A reason is given for what is never run, and something is left to run."""
    found = [block for file in documents() for block in blocks(file) if block.commands]
    assert all(block.mark != "skip" for block in found)
    assert sum(not block.mark for block in found) > 10
    assert {block.language for block in found} <= {"", *SHELLS}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("salver run bandit --solver milp", "--solver"),
        ("salver rnu bandit", "no command 'rnu'"),
        ("salver run", "Missing argument"),
        ("salver run bandit -j two", "valid integer"),
        ("salver bench solvers --table scaling", "--table"),
        ("salver --verbose", "--verbose"),
        ("SALVER_DATA=x ./run_all.sh digits --time 3 | tee log", "--time"),
        (".venv/bin/salver-solve hybird verify q.vnnlib --network N=m.onnx", "hybird"),
        ("salver-solve hybrid verify q.vnnlib --network N=m.onnx --time 3", "--time"),
        ("salver-solve hybrid verify q.vnnlib", "--network"),
        ("salver-solve check-proof m.onnx q.vnnlib", "proof"),
        ("python -m experiments.fuzz.campaign --second 3", "--second"),
        ("python -m experiments.fuzz.campain", "no module"),
        ("scripts/set.sh", None),
    ],
)
def test_a_wrong_command_is_noticed(line: str, told: str | None) -> None:
    if told is None:
        assert not is_ours(line)
        return
    assert is_ours(line)
    assert told in str(complaint(line))


def test_blocks_are_read_as_markdown_means_them(tmp_path: Path) -> None:
    text = """Text.

    salver doctor   # a comment
    not a command

<!-- test: slow -->
```bash
salver run bandit \\
    --resume
```

- a list
    salver is not code here

<!-- test: skip needs Slurm -->

```sh
srun x
```

```python
salver = 1
```
"""
    file = tmp_path / "a.md"
    file.write_text(text)
    shape = [(b.language, b.mark, b.commands) for b in blocks(file)]
    assert shape == [
        ("", "", ("salver doctor   # a comment",)),
        ("bash", "slow", ("salver run bandit --resume",)),
        ("sh", "skip needs Slurm", ("srun x",)),
        ("python", "", ()),
    ]
