"""Habits of `salver` and `salver-solve`: examples, one-line complaints, JSON, statuses, completion."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from salver.cli.calling import call
from salver.core.command_line import OneLineParser, actions_of
from salver.core.errors import FoundError, SalverError, StoppedError
from salver.proofs.command import proof_parser
from salver.publish.validate import Complaint
from salver.solvers.__main__ import main as solve
from salver.solvers.arguments import build_parser
from tests.builders.command_line import app
from tests.builders.own_data import table
from tests.docs.commands import complaint, leaves

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
LEAVES = list(leaves())
NAMES = [" ".join(path) for path, _ in LEAVES]
SOLVE = build_parser()
PARSERS = {"salver-solve": SOLVE, "check-proof": proof_parser(), **actions_of(SOLVE)}
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(autouse=True)
def project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALVER_ROOT", str(ROOT))


@pytest.mark.parametrize(("path", "command"), LEAVES, ids=NAMES)
def test_the_help_of_every_command_has_an_example_that_parses(
    path: tuple[str, ...], command: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(app, [*path, "--help"]) == 0
    text = capsys.readouterr().out
    assert not COLOUR.search(text)
    text = " ".join(text.partition("Example:")[2].partition("Arguments:")[0].partition("Options:")[0].split())
    assert text, f"`salver {' '.join(path)} --help` has no line `Example: salver ...`"
    assert text.startswith(f"salver {' '.join(path)}")
    assert complaint(text) is None
    untold = [p.name for p in command.params if not getattr(p, "help", None)]
    assert not untold, f"without a help text: {untold}"


@pytest.mark.parametrize("name", PARSERS)
def test_the_help_of_every_solving_command_has_an_example_that_parses(name: str) -> None:
    text = PARSERS[name].format_help().partition("example")[2]
    examples = [line.strip() for line in text.splitlines() if line.startswith("  salver-solve")]
    assert examples
    assert [complaint(line) for line in examples] == [None] * len(examples)
    untold = [action.dest for action in PARSERS[name]._actions if not action.help and action.dest != "action"]
    assert not untold


@pytest.mark.slow
@pytest.mark.parametrize(("path", "command"), LEAVES, ids=NAMES)
def test_a_misspelt_option_is_named_in_one_line(
    path: tuple[str, ...], command: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    known = [o for p in command.params for o in p.opts if o.startswith("--")] or ["--help"]
    longest = max(known, key=len)
    assert call(app, [*path, f"{longest}x"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert longest in err


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["genrate", "bandit"], "generate"),
        (["data", "fecth", "mnist"], "fetch"),
        (["generate", "bandti"], "bandit"),
        (["run", "bandit", "--solvers", "hybird"], "hybrid"),
        (["families", "topk_rnak"], "topk_rank"),
        (["data", "fetch", "mnits"], "mnist"),
    ],
)
def test_a_misspelt_word_is_named(
    arguments: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(app, arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("salver: ")
    assert err.count("\n") == 1
    assert re.search(rf"did you mean '?{meant}'?\?", err, re.IGNORECASE)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["hybird", "verify", "q", "--network", "N=m"], "did you mean hybrid?"),
        (["chek-proof", "a", "b", "c"], "did you mean check-proof?"),
        (["hybrid", "verfy", "q"], "did you mean verify?"),
        (["hybrid", "verify", "q", "--network", "N=m", "--timeot", "3"], "did you mean --timeout?"),
        (["hybrid", "verify", "q", "--network", "N=m", "--time", "3"], "did you mean --timeout?"),
        (["hybrid", "verify", "q", "--network", "N=m", "--timeout", "long"], "invalid float value"),
        (["hybrid", "verify", "q", "--network", "N=m", "--device", "tpu"], "choose cpu or cuda"),
        (["falsify", "verify", "q", "--network", "N=m", "--proof", "p"], "writes no proofs"),
        (["hybrid", "verify", "q"], "--network"),
        (["hybrid", "supports"], "--onnx-operators"),
        (["hybrid"], "verify or supports"),
        (["check-proof", "a", "b"], "proof"),
        (["check-proof", "nowhere.onnx", "b", "c"], "cannot be read"),
        ([], "give a solver"),
    ],
)
def test_a_bad_command_line_of_a_solver_is_one_line(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = solve(arguments)
    except SystemExit as ended:
        status = int(str(ended.code))
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert told in err


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [(["milp", "--name"], "salver-milp"), (["milp", "--version"], "0."), (["--version"], "0.")],
)
def test_a_solver_says_its_name_and_version(
    arguments: list[str], printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert solve(arguments) == 0
    assert capsys.readouterr().out.startswith(printed)


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (["suites"], {"key", "title", "version", "seed", "timeout", "memory_mb"}),
        (["families"], {"family", "title", "falsified", "options"}),
        (["data", "list"], {"subject", "usable", "detail"}),
        (
            ["solvers", "list"],
            {"solver", "usable", "version", "complete", "devices", "vnnlib", "reason"},
        ),
    ],
)
def test_lists_as_json(arguments: list[str], keys: set[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(app, [*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found
    assert all(set(item) == keys for item in found)


BENCHES = {"solvers", "training", "smoothgrad", "ranking", "cam", "overhead", "kernels", "peers"}


@pytest.mark.parametrize("name", sorted(BENCHES))
def test_a_bench_gives_programs_its_tables_alone(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measures(*_: object) -> Path:
        print("for people")
        (tmp_path / f"{name}.md").write_text("# bench")
        (tmp_path / "sizes.csv").write_text("solver,seconds\nmilp,0.1234567890123\nhybrid,\n")
        return tmp_path

    monkeypatch.setattr(f"experiments.{name}.bench_{name}", measures)
    assert call(app, ["bench", name, "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {
        "report": str(tmp_path / f"{name}.md"),
        "tables": {
            "sizes": [
                {"solver": "milp", "seconds": 0.1234567890123},
                {"solver": "hybrid", "seconds": None},
            ]
        },
    }
    assert err == "for people\n"
    assert call(app, ["bench", name]) == 0
    assert capsys.readouterr().out == "for people\n"


@pytest.mark.parametrize("name", ["cam", "kernels"])
def test_the_help_of_a_bench_has_its_own_options_first(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(app, ["bench", name, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.index(" --most ") < text.index(" --seed ") < text.index(" --json ") < text.index(" --help ")


def test_a_skipped_bench_has_no_tables(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.cam.bench_cam", lambda *_: None)
    assert call(app, ["bench", "cam", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"report": None, "tables": {}}


GROUPS = sorted({path[:-1] for path, _ in LEAVES})


@pytest.mark.parametrize("path", GROUPS, ids=["salver", *(" ".join(path) for path in GROUPS[1:])])
def test_no_summary_of_a_command_is_cut(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert call(app, [*path, "--help"]) == 0
    told = capsys.readouterr().out.partition("show this message")[2] or capsys.readouterr().out
    assert "..." not in told


def test_the_root_says_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(app, ["--version"]) == 0
    assert capsys.readouterr().out.startswith("0.")
    assert call(app, ["-h"]) == 0
    text = capsys.readouterr().out
    assert "explanations" in text
    assert complaint(text.partition("Example: ")[2].splitlines()[0]) is None
    assert call(app, []) == 2
    assert "Usage: salver" in capsys.readouterr().err


def test_an_invalid_set_is_status_1_and_json_all_the_same(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Complaint] = [Complaint("a.onnx", "does not fit")]
    monkeypatch.setattr("salver.publish.verify.check_set", lambda _: (0, found))
    assert call(app, ["validate", "somewhere", "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out) == {
        "folder": "somewhere", "instances": 0, "valid": False,
        "complaints": [{"file": "a.onnx", "what": "does not fit"}],
    }  # fmt: skip
    assert err == "salver: somewhere: 1 complaint; correct its files, or generate the set again\n"
    found.clear()
    assert call(app, ["validate", "somewhere"]) == 0


@pytest.mark.parametrize(
    ("raised", "status", "told"),
    [
        (SalverError("does not work", "here", "correct it"), 2, "salver: here: does not work; correct it\n"),
        (FoundError("does not fit", "there"), 1, "salver: there: does not fit\n"),
        (
            ValueError("no such\nlayer"),
            1,
            "salver: unexpected ValueError: no such layer; SALVER_DEBUG=1 shows",
        ),
        (
            KeyboardInterrupt(),
            130,
            "salver: interrupted; what was stored before is kept: give the command again",
        ),
        (StoppedError("stopped", "here", "go on"), 130, "salver: here: stopped; go on\n"),
    ],
)
def test_exit_statuses(
    raised: BaseException, status: int, told: str,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def fails() -> None:
        raise raised

    monkeypatch.setattr("salver.cli.examination.examine", fails)
    assert call(app, ["doctor"]) == status
    err = capsys.readouterr().err
    assert err.startswith(told)
    assert err.count("\n") == bool(told)


def test_a_traceback_is_shown_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise ValueError("no such layer")

    monkeypatch.setattr("salver.cli.examination.examine", fails)
    monkeypatch.setenv("SALVER_DEBUG", "1")
    with pytest.raises(ValueError, match="no such layer"):
        call(app, ["doctor"])


@pytest.mark.slow
def test_a_reader_that_leaves_is_no_error() -> None:
    done = bash("set +o pipefail; salver families | head -n 1; echo ${PIPESTATUS[0]}")
    assert done.stdout.splitlines()[-1] == "0"
    assert done.stderr == ""


def bash(text: str, **variables: str) -> subprocess.CompletedProcess[str]:
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "--norc", "-c", text], env={**os.environ, "PATH": path, **variables},
        capture_output=True, text=True, check=True, timeout=600,
    )  # fmt: skip


@pytest.mark.slow
def test_completion_in_bash(tmp_path: Path) -> None:
    words = {
        "_salver_completion": [
            ("salver", "gener"),
            ("salver", "generate", "band"),
            ("salver", "run", "--sol"),
            ("salver", "run", "bandit", "--solvers", "milp,hybrid-p"),
        ],
        "_salver_solve": [
            ("salver-solve", "hyb"),
            ("salver-solve", "hybrid", "ver"),
            ("salver-solve", "hybrid", "verify", "--net"),
        ],
    }
    lines = ['eval "$(salver --show-completion)"', 'eval "$(salver-solve --show-completion)"']
    for function, cases in words.items():
        for case in cases:
            lines += [
                f"COMP_WORDS=({' '.join(case)}) COMP_CWORD={len(case) - 1}",
                f'COMPREPLY=(); {function} {case[0]}; echo "${{COMPREPLY[*]}}"',
            ]
    done = bash("\n".join(lines))
    assert done.stdout.splitlines() == [
        "generate", "bandit", "--solvers", "milp,hybrid-paper",
        "hybrid-paper hybrid", "verify", "--network",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "parameter", "typed", "offered"),
    [
        ("run", "solvers", "mi", ["milp"]),
        ("all", "solvers", "milp,hybrid", ["milp,hybrid", "milp,hybrid-paper"]),
        ("all", "solvers", "hybrid-paper,hybrid", ["hybrid-paper,hybrid"]),
        ("publish", "suite", "band", ["bandit"]),
        ("report", "names", "tiny-2", ["tiny-20260202", "tiny-20260101"]),
        ("report", "names", "lat", ["latest"]),
        ("compare", "second", "other", ["other-1"]),
        ("gallery", "name", "other", ["other-1"]),
        ("report", "profile", "vnn", ["vnncomp2026"]),
        ("run", "engine", "sl", ["slurm"]),
        ("run", "backend", "", ["salver", "runexec"]),
        ("run", "device", "cu", ["cuda"]),
        ("test-runner", "name", "mil", ["milp"]),
        ("test-runner", "suite", "band", ["bandit"]),
        ("bench solvers", "tables", "paper-1,pap", ["paper-1,paper-2"]),
        ("bench training", "solver", "mil", ["milp"]),
        ("solvers install", "names", "vibe", ["vibecheck"]),
        ("data fetch", "name", "mni", ["mnist", "mnist_5k"]),
    ],
)
def test_values_are_completed(
    path: str, parameter: str, typed: str, offered: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("benchmarks", "generators", "runners"):
        (tmp_path / name).symlink_to(ROOT / name)
    for run in ("tiny-20260101", "tiny-20260202", "other-1"):
        (tmp_path / "reports" / run).mkdir(parents=True)
        (tmp_path / "reports" / run / "manifest.json").write_text("{}")
    monkeypatch.setenv("SALVER_ROOT", str(tmp_path))
    (command,) = (command for words, command in LEAVES if " ".join(words) == path)
    (found,) = (one for one in command.params if one.name == parameter)
    context = command.make_context(path, [], resilient_parsing=True)
    assert [item.value for item in found.shell_complete(context, typed)] == offered


@pytest.mark.slow
def test_completion_installs_for_the_shell_it_is_asked_from(tmp_path: Path) -> None:
    bash("salver --install-completion; true", HOME=str(tmp_path))
    installed = list(tmp_path.glob("**/salver.sh"))
    assert installed
    assert installed[0].name in (tmp_path / ".bashrc").read_text()


def in_a_terminal(code: str, **variables: str) -> str:
    """What Python code prints when its streams are a terminal."""
    ours, theirs = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    subprocess.run(
        [sys.executable, "-c", code], env={**environment, "TERM": "xterm-256color", **variables},
        stdin=theirs, stdout=theirs, stderr=theirs, check=True, timeout=60,
    )  # fmt: skip
    os.close(theirs)
    printed = b""
    try:
        while part := os.read(ours, 1 << 16):
            printed += part
    except OSError:  # Linux says so when the other end is closed
        pass
    os.close(ours)
    return printed.decode()


@pytest.mark.slow
def test_colours_are_for_terminals_and_can_be_turned_off(capfd: pytest.CaptureFixture[str]) -> None:
    code = "from salver.cli.progress import counting\nwith counting('making') as done: done(3)\nprint('made')"
    coloured = re.compile(r"\x1b\[[0-9;]*3[0-9]")
    assert coloured.search(in_a_terminal(code))
    assert not coloured.search(in_a_terminal(code, NO_COLOR="1"))
    piped = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (piped.stdout, piped.stderr) == ("made\n", "")


def test_the_parser_of_a_solver_takes_no_abbreviation() -> None:
    assert isinstance(SOLVE, OneLineParser)
    with pytest.raises(SystemExit):
        SOLVE.parse_args(["verify", "q", "--network", "N=m", "--thread", "2"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["rnu"], "no such command: rnu; did you mean run?"),
        (["rejudge", "latest"], "no such command: rejudge; did you mean `salver report`?"),
        (["version"], "no such command: version; did you mean `salver --version`?"),
        (["data", "zzz"], "no such command: zzz; `salver data --help` lists them"),
    ],
)
def test_an_unknown_command_comes_with_what_was_meant(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(app, words) == 2
    assert capsys.readouterr().err == f"salver: {told}\n"


def test_what_is_read_of_own_data_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(table(tmp_path / "wine.csv", "acid,kind", "1,red", "0.5,white", "0,red"))
    assert call(app, ["data", "show", path, "--label", "kind"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "wine.csv",
        "  points    3, and 0 of the train part",
        "  shape     1",
        "  classes   red (2), white (1)",
        "  features  acid",
        "  range     0 to 1",
    ]
    assert call(app, ["data", "show", path, "--label", "kind", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["classes"] == {"red": 2, "white": 1}
    assert call(app, ["data", "show", path]) == 2


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), ImportError("initialization failed")])
def test_an_interruption_says_how_to_go_on(
    raised: BaseException, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    raised.__cause__ = KeyboardInterrupt()

    def fails(*_: object) -> None:
        raise raised

    monkeypatch.setattr("salver.cli.run.run_stage", fails)
    assert call(app, ["run", "quick"]) == 130
    assert (
        capsys.readouterr().err
        == "salver: interrupted; what was stored before is kept: go on with --resume\n"
    )
