"""Drives the scripts of this folder, and makes instances for them whose files nobody reads."""

from __future__ import annotations

import gzip
import os
import sys
from pathlib import Path

from salver.families.instance import Facts, Instance
from salver.families.questions import LabelChanges
from salver.runners.answers import Answer, StagedInstance
from salver.runners.contract import Resources, Runner, answer_from_words
from salver.supervise.finished import Finished, Limits
from salver.supervise.proc import is_alive

SCRIPTS = Path(__file__).parent


def script(behaviour: str, *arguments: str) -> list[str]:
    """Command of one fake solver; `-I -S` keeps its start-up short."""
    return [sys.executable, "-I", "-S", str(SCRIPTS / f"{behaviour}.py"), *arguments]


class FakeRunner(Runner):
    """One fake solver. `pids` is a folder in which long-lived processes leave their process id."""

    name = "fake"

    def __init__(self, behaviour: str, pids: Path, *arguments: str, cpus: int = 1) -> None:
        super().__init__()
        self.behaviour, self.pids, self.arguments = behaviour, pids, arguments
        self.resources = Resources(cpus=cpus)

    def version(self) -> str:
        return "1"

    def command(self, staged: StagedInstance, workdir: Path, limits: Limits) -> list[str]:
        return script(self.behaviour, str(staged.vnnlib), *self.arguments)

    def environment(self, limits: Limits) -> dict[str, str]:
        return {"FAKE_PIDS": str(self.pids)}

    def parse(self, instance: Instance, finished: Finished) -> Answer:
        return answer_from_words(finished.stdout)


class FileRunner(FakeRunner):
    """Reads the answer from a result file, as VNN-COMP's tools give it."""

    result_files = ("result.txt", "link.txt", "pipe.txt", "missing.txt")

    def parse(self, instance: Instance, finished: Finished) -> Answer:
        assert set(finished.files) == {"result.txt"}
        return answer_from_words(finished.files["result.txt"])


class OddResultRunner(FakeRunner):
    """Asks for one result file, or for a proof of that name, of which the tool makes something else."""

    result_files = ("hostname",)

    def __init__(self, behaviour: str, pids: Path, *arguments: str, proof: bool = False) -> None:
        super().__init__(behaviour, pids, *arguments, "hostname")
        if proof:
            self.result_files, self.proof_file, self.proofs = (), "hostname", True


class BrokenRunner(FakeRunner):
    """Fails in the method it is told to fail in."""

    def command(self, staged: StagedInstance, workdir: Path, limits: Limits) -> list[str]:
        if "command" in self.arguments:
            raise ValueError("no such flag")
        return super().command(staged, workdir, limits)

    def parse(self, instance: Instance, finished: Finished) -> Answer:
        raise KeyError("verdict")


class HomeRunner(FakeRunner):
    """A tool that lives in the user's home."""

    needs_home = True


class ChoosyRunner(FakeRunner):
    """Supports nothing."""

    def supports(self, instance: Instance) -> str | None:
        return f"cannot read {instance.name}"


def fake_instance(root: Path, name: str = "a", packed: bool = False) -> Instance:
    """An instance whose three files exist in `root`, stored as `.gz` on request."""
    texts = {
        f"onnx/{name}.onnx": "a network",
        f"vnnlib/{name}.vnnlib": "(declare-const X_0 Real)\n(declare-const X_1 Real)\n",
        f"vnnlib2/{name}.vnnlib": "(vnnlib-version <2.0>)\n",
    }
    for path, text in texts.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if packed:
            target.with_name(target.name + ".gz").write_bytes(gzip.compress(text.encode()))
        else:
            target.write_text(text)
    onnx, vnnlib, vnnlib2 = texts
    facts = Facts(
        family="fake",
        network="none",
        dataset="none",
        index=0,
        label=0,
        question=LabelChanges(),
        epsilon=0.1,
        input_shape=(2,),
        logits=2,
        saliencies=2,
    )
    return Instance(
        id=f"id-{name}",
        suite="fakes",
        name=name,
        onnx=onnx,
        vnnlib=vnnlib,
        vnnlib2=vnnlib2,
        network="none",
        timeout=10.0,
        operators=("Gemm",),
        facts=facts,
    )


def alive(pids: Path) -> list[int]:
    """Processes that were started with this `pids` folder in their environment and still run."""
    mark = f"FAKE_PIDS={pids}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


def still_running(pids: Path) -> list[int]:
    """Fake solvers that have left their id in the `pids` folder and still run, whatever their environment."""
    numbers = [int(path.name) for path in pids.iterdir() if path.name.isdigit()]
    mark = str(SCRIPTS).encode()
    return [pid for pid in numbers if is_alive(pid) and mark in _command_line(pid)]


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
