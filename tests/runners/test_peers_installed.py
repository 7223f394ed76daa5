"""Environments of other people's verifiers, made without the network, and the runners that use them."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from salver.cli.app import app
from salver.core.errors import SalverError
from salver.runners.answers import Claim, StagedInstance
from salver.runners.foreign import environments
from salver.runners.foreign.environments import (
    borrowable,
    folder_of,
    install,
    installed,
    packages_of,
    program_of,
)
from salver.runners.foreign.peers import PEERS, Peer
from salver.runners.registry import runners
from salver.supervise.finished import Limits, Termination
from tests.builders.ended import ended
from tests.fake_solvers.runner import fake_instance

LIMITS = Limits(wall_s=20.5)


class Empty(Peer):
    """A peer without packages of its own."""

    @property
    def lock(self) -> str:
        return ""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SALVER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def staged(tmp_path: Path) -> StagedInstance:
    instance = fake_instance(tmp_path / "work")
    paths = {name: tmp_path / "work" / getattr(instance, name) for name in ("onnx", "vnnlib", "vnnlib2")}
    return StagedInstance(instance=instance, **paths)


def peer(**changes) -> Empty:
    told = {
        "name": "fake", "url": "https://example.org", "licence": "MIT", "borrows": {"numpy": ""},
        "imports": ("numpy",),
    }  # fmt: skip
    return Empty(**{**told, **changes})


def pretend(name: str, **own: str) -> None:
    """As if the tool were installed, with nothing in its environment."""
    folder_of(name).mkdir(parents=True)
    text = environments.Installed(name=name, python="3.11", own=own, borrowed={}).model_dump_json()
    (folder_of(name) / environments.DONE).write_text(text)


def test_an_environment_borrows_and_stands_in(monkeypatch):
    monkeypatch.setattr(environments.importlib.util, "find_spec", lambda name: None)
    assert installed("fake") is None
    done = install(peer(stands_in=("torchvision",), imports=("numpy", "torchvision.ops")))
    assert installed("fake") == done
    assert set(done.borrowed) == {"numpy"}
    ask = "import torchvision.ops as ops; ops.nms(1)"
    found = subprocess.run([str(program_of("fake")), "-c", ask], capture_output=True, text=True, check=False)
    assert "ImportError: torchvision is not installed here: nms is missing" in found.stderr
    assert packages_of("fake").is_dir()


@pytest.mark.slow
def test_what_is_there_stays_until_it_is_outdated():
    install(peer())
    (folder_of("fake") / "mark").touch()
    assert install(peer()) == installed("fake")
    assert (folder_of("fake") / "mark").exists()
    install(peer(borrows={"numpy": "", "scipy": ""}))
    assert not (folder_of("fake") / "mark").exists()


UV = """#!{python}
import subprocess, sys
from pathlib import Path
with Path({log!r}).open("a") as log:
    print(*sys.argv[1:], file=log)
if not {works}:
    sys.exit(1)
if sys.argv[1] == "venv":
    sys.exit(subprocess.call([sys.executable, "-m", "venv", "--without-pip", sys.argv[-1]]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("works", [True, False])
def test_uv_is_used_where_it_is_there_and_works(tmp_path, monkeypatch, works):
    uv, log = tmp_path / "bin" / "uv", tmp_path / "log"
    uv.parent.mkdir()
    uv.write_text(UV.format(python=sys.executable, log=str(log), works=works))
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", str(uv.parent), prepend=os.pathsep)
    wanted = peer(borrows={"numpy": "", "absent-package": "2.0"} if works else {"numpy": ""})
    assert install(wanted) == installed("fake")
    made, *own = log.read_text().splitlines()
    assert made.startswith("venv ")
    packages = f"pip install --quiet --no-deps --python {program_of('fake')} absent-package==2.0"
    assert own == ([packages] if works else [])


def test_what_does_not_import_leaves_nothing_behind():
    with pytest.raises(SalverError, match="No module named 'no_such_module'"):
        install(peer(imports=("no_such_module",)))
    assert not folder_of("fake").exists()


def test_versions_that_are_demanded_are_installed_and_others_borrowed():
    borrowed, missing = borrowable(peer(borrows={"numpy": "", "scipy": "0.1", "absent-package": "2.0"}))
    assert list(borrowed) == ["numpy"]
    assert missing == ["scipy==0.1", "absent-package==2.0"]
    with pytest.raises(SalverError, match="absent-package, which is missing here"):
        borrowable(peer(borrows={"absent-package": ""}))


@pytest.mark.parametrize("name", sorted(PEERS))
def test_every_peer_has_a_lock_of_pins_and_a_runner(name):
    assert all(line.count("==") == 1 for line in PEERS[name].lock.split())
    assert name in runners()


@pytest.mark.parametrize("name", ["vibecheck", "neuralsat"])
def test_a_peer_says_how_to_get_it(name):
    assert runners()[name]().unavailable() == f"is not installed; run `salver solvers install {name}`"


def test_neuralsat_is_called_by_its_script_and_its_file_is_read(staged):
    pretend("neuralsat", neuralsat="0.2.17")
    runner = runners()["neuralsat"]("cuda")
    assert (runner.version(), runner.unavailable()) == ("0.2.17", None)
    words = runner.command(staged, staged.onnx.parent, LIMITS)
    assert words[0] == str(program_of("neuralsat"))
    assert words[1].endswith("site-packages/src/main.py")
    assert [words[words.index(key) + 1] for key in ("--timeout", "--device")] == ["20.5", "cuda"]
    (name,) = runner.result_files
    answer = runner.parse(staged.instance, ended(files={name: "sat\n((X_0 0.5))\n"}))
    assert (answer.claim, answer.witness) == (Claim.SAT, "((X_0 0.5))")
    assert runner.parse(staged.instance, ended(stderr="a\nKeyError: 'Abs'\n")).reason == "KeyError: 'Abs'"
    assert runner.parse(staged.instance, ended(Termination.WALLTIME)).claim is Claim.NONE


def test_vibecheck_is_given_the_newer_format_and_its_own_word_for_a_gpu(staged):
    pretend("vibecheck", **{"vibecheck-nn": "1.1.0"})
    runner = runners()["vibecheck"]("cuda")
    words = runner.command(staged, staged.onnx.parent, LIMITS)
    assert str(staged.vnnlib2) in words
    assert words[-2:] == ["--device", "gpu"]
    wider = staged.instance.model_copy(update={"operators": ("Abs",)})
    assert "Abs" in runner.supports(wider)


@pytest.mark.parametrize(
    ("line", "witness"),
    [
        ("Input: [np.float32(0.5), np.float32(-1e-05)]", "((X_0 0.5)\n(X_1 -1e-05))"),
        ("Input: [0.5, 1.0]", "((X_0 0.5)\n(X_1 1.0))"),
        ("nothing", None),
    ],
)
def test_nnenums_point_is_on_its_output(staged, line, witness):
    runner = runners()["nnenum"]()
    files = dict.fromkeys(runner.result_files, "violated")
    answer = runner.parse(staged.instance, ended(stdout=f"Result: UNSAFE\n{line}\nbye\n", files=files))
    assert (answer.claim, answer.witness) == (Claim.SAT, witness)


def test_nnenum_takes_what_it_can_show(staged, tmp_path, monkeypatch):
    runner = runners()["nnenum"]()
    facts = staged.instance.facts.model_copy(update={"input_shape": (8, 8)})
    wide = staged.instance.model_copy(update={"facts": facts})
    assert runner.supports(staged.instance) is None
    assert "more than 10 inputs" in runner.supports(wide)
    assert "Sign" in runner.supports(staged.instance.model_copy(update={"operators": ("Sign",)}))
    assert runner.unavailable() == "NNENUM_HOME is not set"
    monkeypatch.setenv("NNENUM_HOME", str(tmp_path))
    (tmp_path / "run_instance.sh").write_text("")
    (tmp_path / "prepare_instance.sh").write_text("killall -q python3")
    assert "salver solvers install nnenum" in runner.unavailable()
    pretend("nnenum")
    assert runner.unavailable() is None


def test_abcrown_uses_its_environment_where_there_is_one(tmp_path, monkeypatch, staged):
    monkeypatch.setenv("ABCROWN_HOME", str(tmp_path / "tool"))
    monkeypatch.delenv("ABCROWN_PYTHON", raising=False)
    code = tmp_path / "tool" / "complete_verifier"
    code.mkdir(parents=True)
    (code / "abcrown.py").write_text("")
    runner = runners()["abcrown"]()
    assert runner.command(staged, staged.onnx.parent, LIMITS)[0] == sys.executable
    pretend("abcrown")
    assert "has no auto_LiRPA and no onnx2pytorch" in runner.unavailable()
    for name in ("auto_LiRPA", "onnx2pytorch"):
        (tmp_path / "tool" / name / name).mkdir(parents=True)
    assert runner.unavailable() is None
    assert runner.command(staged, staged.onnx.parent, LIMITS)[0] == str(program_of("abcrown"))
    assert str(tmp_path / "tool" / "onnx2pytorch") in runner.environment(LIMITS)["PYTHONPATH"]


def test_the_stand_in_is_not_written_where_the_module_is(monkeypatch):
    assert importlib.util.find_spec("tabulate") is not None
    install(peer(stands_in=("tabulate",)))
    assert not (packages_of("fake") / "tabulate").exists()


def test_the_list_says_why_a_solver_cannot_run(monkeypatch):
    monkeypatch.delenv("NNENUM_HOME", raising=False)
    done = CliRunner().invoke(app, ["solvers", "list"])
    assert done.exit_code == 0, done.output
    rows = {line.split()[1]: line for line in done.output.splitlines()[1:]}
    assert rows["milp"].startswith("ok")
    assert rows["nnenum"].startswith("-")
    assert "NNENUM_HOME is not set" in rows["nnenum"]
    assert "run `salver solvers install vibecheck`" in rows["vibecheck"]


def test_an_unknown_verifier_to_install_is_named():
    done = CliRunner().invoke(app, ["solvers", "install", "vibechek"])
    assert isinstance(done.exception, SalverError)
    assert "did you mean vibecheck?" in str(done.exception)
