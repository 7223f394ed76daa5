"""The runners for tools of others, each driven through a small fake of the tool's own interface."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from salver.core.errors import SalverError
from salver.runners.answers import Claim, StagedInstance
from salver.runners.contract import Runner
from salver.runners.foreign.revision import commit_of
from salver.runners.foreign.vnncomp_instance import seconds_left
from salver.supervise.finished import Finished, Limits, Termination
from tests.builders.ended import ended
from tests.fake_solvers.runner import fake_instance

RUNNERS = Path(__file__).resolve().parents[2] / "runners"
LIMITS = Limits(wall_s=20.5)


def drop_in(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"drop_in_{name}", RUNNERS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


abcrown = drop_in("abcrown")
vnncomp = drop_in("vnncomp")
vnnlib_cli = drop_in("vnnlib_cli")


@pytest.fixture
def staged(tmp_path: Path) -> StagedInstance:
    instance = fake_instance(tmp_path / "work")
    paths = {name: tmp_path / "work" / getattr(instance, name) for name in ("onnx", "vnnlib", "vnnlib2")}
    paths["vnnlib2"].write_text(
        "(vnnlib-version <2.0>)\n(declare-network g1\n  (declare-input X real [1,2]))\n"
    )
    return StagedInstance(instance=instance, **paths)


def finish(runner: Runner, staged: StagedInstance) -> Finished:
    """Runs the tool as the engine does, without limits."""
    workdir = staged.onnx.parents[1]
    command = runner.command(staged, workdir, LIMITS)
    environment = {**os.environ, **runner.environment(LIMITS)}
    done = subprocess.run(
        command,
        check=False,
        cwd=workdir,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    files = {name: (workdir / name).read_text() for name in runner.result_files if (workdir / name).exists()}
    return ended(exit_code=done.returncode, stdout=done.stdout, stderr=done.stderr, files=files)


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


FAKE_ABCROWN = """
import argparse, json, os, pathlib
parser = argparse.ArgumentParser(allow_abbrev=False)
for option in ("config", "onnx_path", "vnnlib_path", "results_file", "cex_path"):
    parser.add_argument("--" + option, type=pathlib.Path, required=True)
parser.add_argument("--timeout", type=float, required=True)
parser.add_argument("--save_adv_example", action="store_true", required=True)
args = parser.parse_args()
config = json.loads(args.config.read_text())
assert config["general"] == {"device": "cuda", "conv_mode": "matrix"}, config
assert args.onnx_path.is_file() and args.vnnlib_path.read_text().startswith("(declare-const")
assert args.timeout == 20.5 and os.environ["OMP_NUM_THREADS"] == "1"
assert str(pathlib.Path(__file__).parents[1]) in os.environ["PYTHONPATH"].split(os.pathsep)
args.results_file.write_text("sat\\n((X_0 0.5)\\n (Y_0 1.0))\\n")
"""


@pytest.fixture
def abcrown_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "tool"
    program(home / "complete_verifier" / "abcrown.py", FAKE_ABCROWN)
    (home / "complete_verifier" / "__init__.py").write_text('__version__ = "0.7.0"\n')
    monkeypatch.setenv("ABCROWN_HOME", str(home))
    monkeypatch.setenv("ABCROWN_PYTHON", sys.executable)
    monkeypatch.setenv("SALVER_CACHE", str(tmp_path / "cache"))
    return home


def test_abcrown_is_called_with_its_own_options_and_its_witness_is_read(
    abcrown_home: Path, staged: StagedInstance
) -> None:
    runner = abcrown.AbCrown(device="cuda")
    assert runner.unavailable() is None
    answer = runner.parse(staged.instance, finish(runner, staged))
    assert answer.claim is Claim.SAT
    assert answer.witness == "((X_0 0.5)\n (Y_0 1.0))"


@pytest.mark.parametrize(
    ("shape", "at_inputs"), [([5], True), ([20], True), ([21], False), ([1, 28, 28], False)]
)
def test_abcrown_splits_few_inputs_and_many_neurons(
    abcrown_home: Path, staged: StagedInstance, shape: list[int], at_inputs: bool
) -> None:
    facts = staged.instance.facts.model_copy(update={"input_shape": tuple(shape)})
    config = abcrown.AbCrown().config(staged.instance.model_copy(update={"facts": facts}))
    assert config["general"]["device"] == "cpu"
    assert ("bab" in config) is at_inputs


def test_abcrowns_configuration_may_be_the_users_own_and_is_part_of_the_version(
    abcrown_home: Path, monkeypatch: pytest.MonkeyPatch, staged: StagedInstance
) -> None:
    runner, file = abcrown.AbCrown(), abcrown_home / "mine.yaml"
    assert runner.version() == "0.7.0"
    monkeypatch.setenv("ABCROWN_CONFIG", str(file))
    assert "mine.yaml is no file" in str(runner.unavailable())
    versions = []
    for text in ("{}", "{bab: {}}"):
        file.write_text(text)
        assert runner.unavailable() is None
        assert str(file) in runner.command(staged, staged.onnx.parent, LIMITS)
        versions.append(runner.version())
    assert versions[0] != versions[1]
    assert all(version.startswith("0.7.0+config.") for version in versions)


def test_abcrown_may_be_named_by_its_inner_folder(
    abcrown_home: Path, monkeypatch: pytest.MonkeyPatch, staged: StagedInstance
) -> None:
    monkeypatch.setenv("ABCROWN_HOME", str(abcrown_home / "complete_verifier"))
    assert abcrown.AbCrown().unavailable() is None
    assert str(abcrown_home / "complete_verifier" / "abcrown.py") in abcrown.AbCrown().command(
        staged, staged.onnx.parent, LIMITS
    )


def test_abcrown_without_a_results_file_is_an_error_with_its_last_line(
    abcrown_home: Path, staged: StagedInstance
) -> None:
    program(abcrown_home / "complete_verifier" / "abcrown.py", "raise ValueError('no Greater')\n")
    runner = abcrown.AbCrown()
    answer = runner.parse(staged.instance, finish(runner, staged))
    assert answer.claim is Claim.ERROR
    assert answer.reason == "ValueError: no Greater"


@pytest.mark.parametrize(
    ("word", "log", "claim"),
    [
        ("unsat", "", Claim.UNSAT),
        ("timeout", "Time out!!!!!!!!\n", Claim.TIMEOUT),
        ("timeout", "all nodes are split!!\n7 domains visited\n", Claim.UNKNOWN),
        ("timeout", "Maximum number of visited domains has reached.\n", Claim.UNKNOWN),
        ("timeout", "all nodes are split!!\nTime out!!!!!!!!\n", Claim.TIMEOUT),
        ("timeout", "", Claim.TIMEOUT),
    ],
)
def test_abcrowns_log_tells_unknown_from_timeout(
    staged: StagedInstance, word: str, log: str, claim: Claim
) -> None:
    finished = ended(stdout=log, files={abcrown.RESULTS: word})
    assert abcrown.AbCrown().parse(staged.instance, finished).claim is claim


def test_abcrown_stopped_at_the_limit_claims_nothing(staged: StagedInstance) -> None:
    finished = ended(Termination.WALLTIME, exit_code=None)
    assert abcrown.AbCrown().parse(staged.instance, finished).claim is Claim.NONE


def test_abcrown_says_why_it_is_unavailable(abcrown_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABCROWN_PYTHON", str(abcrown_home / "no-python"))
    assert "ABCROWN_PYTHON" in str(abcrown.AbCrown().unavailable())
    monkeypatch.delenv("ABCROWN_PYTHON")
    monkeypatch.setattr(abcrown, "IMPORTED", ("json", "no_such_module"))
    assert "needs no_such_module" in str(abcrown.AbCrown().unavailable())
    (abcrown_home / "complete_verifier" / "abcrown.py").unlink()
    assert "no abcrown.py" in str(abcrown.AbCrown().unavailable())
    monkeypatch.delenv("ABCROWN_HOME")
    assert abcrown.AbCrown().unavailable() == "ABCROWN_HOME is not set"


def test_abcrowns_version_names_release_and_commit(abcrown_home: Path) -> None:
    assert abcrown.AbCrown().version() == "0.7.0"
    program(abcrown_home / ".git" / "HEAD", "ref: refs/heads/main\n")
    program(abcrown_home / ".git" / "refs" / "heads" / "main", "0123456789abcdef\n")
    assert abcrown.AbCrown().version() == "0.7.0+01234567"


def test_a_commit_is_also_found_packed_or_detached(tmp_path: Path) -> None:
    assert commit_of(tmp_path / "no" / "clone") == ""
    head = program(tmp_path / "tool" / ".git" / "HEAD", "ref: refs/heads/main\n")
    assert commit_of(tmp_path / "tool") == ""
    (head.parent / "packed-refs").write_text("# pack-refs\nfeedbeef99 refs/heads/main\n")
    assert commit_of(tmp_path / "tool" / "scripts") == "feedbeef"
    head.write_text("abcdef0123\n")
    assert commit_of(tmp_path / "tool") == "abcdef01"


PREPARE = """#!/bin/bash
[ "$#" = 4 ] && [ "$1" = v1 ] && [ "$2" = fakes ] && [ -f "$3" ] && [ -f "$4" ] || exit 9
touch prepared
"""
RUN = """#!/bin/bash
[ "$#" = 6 ] && [ "$1" = v1 ] && [ -f prepared ] || exit 9
(( $6 >= 1 && $6 <= 20 )) || exit 8
printf 'violated\\n((X_0 0.5))\\n' > "$5"
"""


def vnncomp_tool(
    folder: Path, monkeypatch: pytest.MonkeyPatch, prepare: str = PREPARE, run: str = RUN
) -> Runner:
    program(folder / "prepare_instance.sh", prepare)
    program(folder / "run_instance.sh", run)
    monkeypatch.setenv("SALVER_VNNCOMP_TOOLS", f"my-tool={folder}")
    (found,) = vnncomp.discover()
    runner: Runner = found()
    return runner


@pytest.mark.parametrize("executable", [True, False])
def test_vnncomp_scripts_prepare_then_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, staged: StagedInstance, executable: bool
) -> None:
    runner = vnncomp_tool(tmp_path / "tool with a space", monkeypatch)
    if not executable:
        for script in (tmp_path / "tool with a space").iterdir():
            script.chmod(0o644)
    assert runner.name == "my-tool"
    assert runner.unavailable() is None
    answer = runner.parse(staged.instance, finish(runner, staged))
    assert (answer.claim, answer.witness) == (Claim.SAT, "((X_0 0.5))")


def test_a_failing_preparation_is_an_error_and_nothing_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, staged: StagedInstance
) -> None:
    runner = vnncomp_tool(tmp_path / "tool", monkeypatch, prepare="#!/bin/bash\nexit 3\n")
    answer = runner.parse(staged.instance, finish(runner, staged))
    assert answer.claim is Claim.ERROR
    assert answer.reason == "prepare_instance.sh failed with exit status 3"


def test_preparing_is_taken_off_the_time_in_whole_seconds() -> None:
    assert seconds_left(20.5, 3.2) == "17"
    assert seconds_left(2.0, 5.0) == "1"


@pytest.mark.parametrize(
    "line",
    [
        "killall -q python",
        "  sudo pkill -f solver",
        "kill -9 -1",
        "kill -s KILL -1",
        "kill -- -1",
        "kill $(pgrep -f python)",
        "kill -9 `pidof python3`",
        "ps aux | grep python | awk '{print $2}' | xargs kill -9",
        "pgrep python \\\n  | xargs kill",
        "fuser -k /dev/nvidia0",
    ],
)
def test_scripts_that_kill_by_name_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    runner = vnncomp_tool(tmp_path / "tool", monkeypatch, prepare=f"#!/bin/bash\n# tidy up\n{line}\nexit 0\n")
    assert "prepare_instance.sh:3 kills processes" in str(runner.unavailable())


@pytest.mark.parametrize(
    "line", ["kill $PID", "kill -9 $!", "kill -1 $PID", "# killall python", "echo skills"]
)
def test_scripts_that_end_their_own_children_are_not_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    assert vnncomp_tool(tmp_path / "tool", monkeypatch, run=f"#!/bin/bash\n{line}\n").unavailable() is None


def test_scripts_called_by_the_scripts_are_read_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "tool"
    runner = vnncomp_tool(folder, monkeypatch, run="#!/bin/bash\n. ./common.sh\n")
    version = runner.version()
    program(folder / "install_tool.sh", "pkill apt\n")
    assert runner.unavailable() is None
    assert runner.version() == version
    program(folder / "common.sh", "pkill python\n")
    assert "common.sh:1" in str(runner.unavailable())
    assert runner.version() != version


def test_missing_scripts_make_a_tool_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = vnncomp_tool(tmp_path / "tool", monkeypatch)
    (tmp_path / "tool" / "run_instance.sh").unlink()
    assert "has no run_instance.sh" in str(runner.unavailable())


def test_tools_are_listed_by_name_or_named_after_their_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SALVER_VNNCOMP_TOOLS", raising=False)
    assert vnncomp.discover() == []
    monkeypatch.setenv("SALVER_VNNCOMP_TOOLS", "one=/a/tool:/b/two")
    found = vnncomp.discover()
    assert [runner.name for runner in found] == ["one", "two"]
    assert found[1]().scripts == Path("/b/two")
    for wrong, reason in (("a b=/x", "is not"), ("one=", "is not"), ("one=/x:one=/y", "twice")):
        monkeypatch.setenv("SALVER_VNNCOMP_TOOLS", wrong)
        with pytest.raises(SalverError, match=reason):
            vnncomp.discover()


FAKE_CLI = """
import pathlib, sys
own, arguments = sys.argv[1], sys.argv[2:]
assert own == "--own option", sys.argv
if arguments == ["--version"]:
    print("3.1.4")
elif arguments == ["supports", "--onnx-operators"]:
    print("Gemm float32 float64\\nRelu")
elif arguments == ["supports", "--vnnlib-versions"]:
    print("1.0\\n@NEWEST@")
else:
    verb, query, option, network, limit, seconds = arguments
    name, _, onnx = network.partition("=")
    assert (verb, option, limit, seconds) == ("verify", "--network", "--timeout", "20"), arguments
    assert name in pathlib.Path(query).read_text() or name == "N"
    assert pathlib.Path(onnx).is_file()
    print("sat\\nX real [1,2]\\n0.5\\n0.25")
"""


def cli_tool(folder: Path, monkeypatch: pytest.MonkeyPatch, newest: str = "2.0") -> Runner:
    script = program(folder / "tool.py", FAKE_CLI.replace("@NEWEST@", newest))
    monkeypatch.setenv("SALVER_VNNLIB_TOOLS", f"my-cli={sys.executable} -I -S {script} '--own option'")
    (found,) = vnnlib_cli.discover()
    runner: Runner = found()
    return runner


@pytest.mark.parametrize(("newest", "query", "network"), [("2.0", "vnnlib2", "g1="), ("1.0", "vnnlib", "N=")])
def test_the_standard_command_line_is_used_with_the_newest_format_the_tool_reads(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    staged: StagedInstance,
    newest: str,
    query: str,
    network: str,
) -> None:
    runner = cli_tool(tmp_path / "cli", monkeypatch, newest)
    assert runner.unavailable() is None
    assert runner.version() == "3.1.4"
    command = runner.command(staged, tmp_path, LIMITS)
    assert str(getattr(staged, query)) in command
    assert f"{network}{staged.onnx}" in command
    answer = runner.parse(staged.instance, finish(runner, staged))
    assert (answer.claim, answer.witness) == (Claim.SAT, "X real [1,2]\n0.5\n0.25")


def test_the_tools_own_list_of_operators_decides_what_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, staged: StagedInstance
) -> None:
    runner = cli_tool(tmp_path / "cli", monkeypatch)
    assert runner.supports(staged.instance) is None
    wider = staged.instance.model_copy(update={"operators": ("Gemm", "Sign")})
    assert runner.supports(wider) == "operators not supported: Sign"


def test_a_tool_that_lists_nothing_is_given_everything(
    monkeypatch: pytest.MonkeyPatch, staged: StagedInstance
) -> None:
    monkeypatch.setenv("SALVER_VNNLIB_TOOLS", "quiet=/bin/false")
    runner = vnnlib_cli.discover()[0]()
    assert runner.supports(staged.instance) is None
    assert str(staged.vnnlib2) in runner.command(staged, staged.onnx.parent, LIMITS)
    assert "--version` gives no answer" in str(runner.unavailable())


@pytest.mark.parametrize(
    ("stdout", "stderr", "claim", "reason"),
    [
        ("timed-out\n", "", Claim.TIMEOUT, ""),
        ("unknown\n", "", Claim.UNKNOWN, ""),
        ("", "log\nout of luck\n", Claim.ERROR, "out of luck"),
        ("Segmentation fault", "", Claim.ERROR, "no verdict in the first line 'Segmentation fault'"),
    ],
)
def test_what_a_standard_tool_prints_is_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    staged: StagedInstance,
    stdout: str,
    stderr: str,
    claim: Claim,
    reason: str,
) -> None:
    runner = cli_tool(tmp_path / "cli", monkeypatch)
    answer = runner.parse(staged.instance, ended(stdout=stdout, stderr=stderr))
    assert (answer.claim, answer.reason) == (claim, reason)


def test_a_missing_program_and_malformed_entries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALVER_VNNLIB_TOOLS", "gone=/no/such/program verify")
    assert vnnlib_cli.discover()[0]().unavailable() == "/no/such/program is not a program"
    for wrong, reason in (("a b=x", "is not"), ("one=", "is not"), ("a=x;a=y", "twice"), ("a='x", "quoted")):
        monkeypatch.setenv("SALVER_VNNLIB_TOOLS", wrong)
        with pytest.raises(SalverError, match=reason):
            vnnlib_cli.discover()
