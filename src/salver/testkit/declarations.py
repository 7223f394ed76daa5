"""Checks that need neither the tool nor an instance set: what the runner declares, calls and reads."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from salver.core.names import SOLVER_NAME, SOLVER_NAME_HINT
from salver.explain.gradient import Gradient
from salver.families.instance import Facts, Instance
from salver.families.other_class import SameMap
from salver.runners.answers import Answer, Claim, StagedInstance
from salver.runners.contract import VERDICT_WORDS, Runner
from salver.supervise.finished import Finished, Limits, Termination
from salver.testkit.check import Check, checked, require

GARBAGE = ("garbage", "Traceback (most recent call last):\n  ...\nValueError: no\n", "sat?", "\0\0")
NO_VERDICT = (Claim.NONE, Claim.ERROR)


def sample_instance(operators: tuple[str, ...] = ("Gemm", "Relu")) -> Instance:
    """An instance whose files need not exist."""
    facts = Facts(
        family="vg_box", network="n", dataset="d", index=0, label=0, explanation=Gradient(),
        question=SameMap(delta=0.1), epsilon=0.1, input_shape=(2,), logits=2, saliencies=2,
    )  # fmt: skip
    return Instance(
        id="0" * 16, suite="s", name="i", onnx="onnx/n.onnx", vnnlib="vnnlib/i.vnnlib",
        vnnlib2="vnnlib2/i.vnnlib", network="networks/n.onnx", timeout=5, operators=operators, facts=facts,
    )  # fmt: skip


def staged_sample(folder: Path) -> StagedInstance:
    """The sample with three files in `folder`; the texts declare what a runner may look for."""
    onnx, vnnlib, vnnlib2 = folder / "n.onnx", folder / "i.vnnlib", folder / "2.vnnlib"
    onnx.write_text("")
    vnnlib.write_text("(declare-const X_0 Real)\n")
    vnnlib2.write_text("(vnnlib-version <2.0>)\n(declare-network N (declare-input X real [1,2]))\n")
    return StagedInstance(instance=sample_instance(), onnx=onnx, vnnlib=vnnlib, vnnlib2=vnnlib2)


def ended(how: Termination = Termination.EXITED, **changes: object) -> Finished:
    """A run that ended this way and printed nothing."""
    base: dict[str, object] = {
        "termination": how, "exit_code": 0 if how is Termination.EXITED else None, "signal": None,
        "wall_s": 1.0, "cpu_s": 1.0, "memory_mb": 1.0,
    }  # fmt: skip
    return Finished.model_validate({**base, **changes})


def check_declarations(runner: Runner) -> list[Check]:
    """All of them, in the order in which a runner is written."""
    asked: tuple[tuple[str, Callable[[Runner], str]], ...] = (
        ("name", _name),
        ("declarations", _declarations),
        ("version", _version),
        ("operators", _operators),
        ("command", _command),
        ("limit passed on", _limit),
        ("environment", _environment),
        ("nothing printed", _nothing),
        ("garbage printed", _garbage),
        ("stopped without a word", _stopped),
        ("verdict words", _words),
        ("reads the same twice", _pure),
    )
    return [checked(subject, lambda ask=ask: ask(runner)) for subject, ask in asked]  # type: ignore[misc]


def _name(runner: Runner) -> str:
    require(
        SOLVER_NAME.fullmatch(runner.name),
        f"{runner.name!r} is no name for a solver; change `name`: {SOLVER_NAME_HINT}",
    )
    return runner.name


def _declarations(runner: Runner) -> str:
    require(runner.devices, "`devices` is empty; say cpu, cuda or both")
    require(
        runner.devices <= {"cpu", "cuda"},
        f"unknown device in {sorted(runner.devices)}; `devices` knows cpu, cuda",
    )
    known = runner.vnnlib_versions and set(runner.vnnlib_versions) <= {"1.0", "2.0"}
    require(known, f"`vnnlib_versions` {runner.vnnlib_versions} should be of 1.0 and 2.0")
    require(
        all(isinstance(name, str) and "/" not in name for name in runner.result_files),
        "`result_files` should be plain file names in the working directory",
    )
    how = "complete" if runner.complete else "not complete"
    return f"{how}, on {' and '.join(sorted(runner.devices))}, {runner.resources.cpus} core(s)"


def _version(runner: Runner) -> str:
    found = runner.version()
    good = isinstance(found, str) and found.strip() and "\n" not in found
    require(good, f"version() returned {found!r}; it should be one line of text")
    require(
        runner.version() == found, "version() answers differently when asked again, so no run could resume"
    )
    return found


def _operators(runner: Runner) -> str:
    reason = runner.supports(sample_instance(("Gemm", "Softmax")))
    require(
        reason is None or (isinstance(reason, str) and reason),
        "supports() should return a reason, or None when the tool can take the instance",
    )
    return "takes any operator" if reason is None else f"refuses others: {reason}"


def _command(runner: Runner) -> str:
    words = _called(runner, Limits(wall_s=7))
    require(
        isinstance(words, list) and all(isinstance(word, str) for word in words),
        f"command() should return a list of strings, not {words!r}",
    )
    for file in ("n.onnx", "vnnlib"):
        require(any(file in word for word in words), f"command() does not name the {file} file: {words}")
    return words[0]


def _limit(runner: Runner) -> str:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        staged = staged_sample(place)
        seven, thousand = (runner.command(staged, place, Limits(wall_s=wall)) for wall in (7, 1000))
    if seven == thousand:
        return "not in the command: the tool is killed at the limit, and cannot say `timeout` itself"
    return "the command changes with the limit"


def _called(runner: Runner, limits: Limits) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        return runner.command(staged_sample(Path(folder)), Path(folder), limits)


def _environment(runner: Runner) -> str:
    found = runner.environment(Limits(wall_s=7))
    good = isinstance(found, dict) and all(isinstance(word, str) for pair in found.items() for word in pair)
    require(good, f"environment() should return a dict of strings, not {found!r}")
    return ", ".join(sorted(found)) or "nothing added"


def _nothing(runner: Runner) -> str:
    return _no_verdict(runner, ended(), "a tool that prints nothing")


def _garbage(runner: Runner) -> str:
    for text in GARBAGE:
        files = dict.fromkeys(runner.result_files, text)
        _no_verdict(runner, ended(stdout=text, stderr=text, files=files), f"the output {text[:20]!r}")
    return "no verdict"


def _stopped(runner: Runner) -> str:
    for how in (Termination.WALLTIME, Termination.MEMORY, Termination.CRASHED):
        _no_verdict(runner, ended(how), f"a run that ended by {how} without output")
    return "no verdict after a time limit, a memory limit, a crash"


def _no_verdict(runner: Runner, finished: Finished, told: str) -> str:
    answer = runner.parse(sample_instance(), finished)
    require(isinstance(answer, Answer), f"parse() should return an Answer, not {answer!r}")
    require(
        answer.claim in NO_VERDICT,
        f"parse() makes {told} into {answer.claim.value!r}; it should be Claim.NONE or Claim.ERROR",
    )
    return "no verdict"


def _words(runner: Runner) -> str:
    """A runner whose tool has words of its own is not expected to know these, but may not turn them round."""
    read = []
    for word, meant in VERDICT_WORDS.items():
        text = f"{word}\n"
        answer = runner.parse(
            sample_instance(), ended(stdout=text, files=dict.fromkeys(runner.result_files, text))
        )
        opposite = {Claim.SAT: Claim.UNSAT, Claim.UNSAT: Claim.SAT}.get(meant)
        require(answer.claim is not opposite, f"parse() reads {word!r} as {answer.claim.value!r}")
        read += [word] if answer.claim is meant else []
    return f"reads {', '.join(read)}" if read else "the tool has words of its own"


def _pure(runner: Runner) -> str:
    record = ended(stdout="unsat\n", files=dict.fromkeys(runner.result_files, "unsat\n"))
    first, second = (runner.parse(sample_instance(), record) for _ in range(2))
    require(first == second, "parse() answers differently on the same output; stored logs are judged again")
    return "yes"
