"""The real alpha,beta-CROWN, as its users install it.

`ABCROWN_HOME` names its checkout, with its submodule auto_LiRPA, and in it a clone of its fork of
onnx2pytorch where that is not installed. It runs in the environment that `salver solvers install abcrown`
makes, or under `ABCROWN_PYTHON`, its own interpreter. `ABCROWN_CONFIG` names a configuration file to use
instead of ours. `abcrown.py` is called directly: the tool's competition scripts assume CUDA and kill every
Python process of the machine.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from salver.families.instance import Instance
from salver.runners.answers import Answer, Claim, StagedInstance
from salver.runners.contract import Resources, Runner, answer_from_words
from salver.runners.foreign.environments import installed, program_of
from salver.runners.foreign.revision import commit_of
from salver.supervise.finished import Finished, Limits, Termination

IMPORTED = ("torch", "onnx2pytorch", "gurobipy", "sortedcontainers", "yaml")
BUNDLED = ("auto_LiRPA", "onnx2pytorch")
RESULTS = "abcrown_results.txt"
CONFIG = "abcrown.yaml"
FEW_INPUTS = 20
COUNTEREXAMPLE = "abcrown_counterexample.txt"
TIMED_OUT = "Time out!!!"
GAVE_UP = ("all nodes are split", "Maximum number of visited domains has reached")


def home() -> Path:
    """The tool's folder; meaningful only where `ABCROWN_HOME` is set."""
    return Path(os.environ.get("ABCROWN_HOME", "")).absolute()


def code() -> Path:
    """The folder of `abcrown.py`, whether `ABCROWN_HOME` names it or the repository around it."""
    inner = home() / "complete_verifier"
    return inner if inner.is_dir() else home()


def interpreter() -> str:
    """Python that runs the tool: the user's, that of its environment, or this one."""
    own = os.environ.get("ABCROWN_PYTHON")
    return own or (str(program_of("abcrown")) if installed("abcrown") else sys.executable)


def own_config() -> Path | None:
    """The user's configuration file, where there is one."""
    named = os.environ.get("ABCROWN_CONFIG")
    return Path(named).absolute() if named else None


def bundled() -> list[Path]:
    """Folders of packages that lie in the checkout."""
    return [home() / name for name in BUNDLED if (home() / name / name).is_dir()]


class AbCrown(Runner):
    """alpha,beta-CROWN: bound propagation with branch and bound, on CPU or CUDA."""

    name = "abcrown"
    url = "https://github.com/Verified-Intelligence/alpha-beta-CROWN"
    environment_variables = ("ABCROWN_HOME",)
    needs_home = True
    resources = Resources(cpus=1, memory_mb=16000)
    devices = frozenset({"cpu", "cuda"})
    result_files = (RESULTS,)

    def unavailable(self) -> str | None:
        if reason := super().unavailable():
            return reason
        if not (code() / "abcrown.py").is_file():
            return f"ABCROWN_HOME={home()} has no abcrown.py"
        if (own_file := own_config()) and not own_file.is_file():
            return f"ABCROWN_CONFIG={own_file} is no file"
        if own := os.environ.get("ABCROWN_PYTHON"):
            return None if shutil.which(own) else f"ABCROWN_PYTHON={own} is not a program"
        there = {path.name for path in bundled()}
        if installed("abcrown"):
            absent = [name for name in BUNDLED if name not in there]
            return f"ABCROWN_HOME={home()} has no {' and no '.join(absent)}" if absent else None
        needed = [module for module in IMPORTED if module not in there]
        missing = [module for module in needed if importlib.util.find_spec(module) is None]
        return f"needs {', '.join(missing)}; run `salver solvers install abcrown`" if missing else None

    def version(self) -> str:
        package = code() / "__init__.py"
        text = package.read_text() if package.is_file() else ""
        found = re.search(r"__version__\s*=\s*['\"]([^'\"]+)", text)
        release = found[1] if found else "unreleased"
        own = own_config()
        parts = [commit_of(home()), own and f"config.{hashlib.sha256(own.read_bytes()).hexdigest()[:8]}"]
        return "+".join((release, ".".join(filter(None, parts)))).rstrip("+")

    def command(self, staged: StagedInstance, workdir: Path, limits: Limits) -> list[str]:
        (workdir / CONFIG).write_text(json.dumps(self.config(staged.instance)) + "\n")  # JSON is YAML
        return [
            interpreter(), str(code() / "abcrown.py"),
            "--config", str(own_config() or workdir / CONFIG),
            "--onnx_path", str(staged.onnx), "--vnnlib_path", str(staged.vnnlib),
            "--results_file", str(workdir / RESULTS), "--timeout", f"{limits.wall_s:g}",
            "--save_adv_example", "--cex_path", str(workdir / COUNTEREXAMPLE),
        ]  # fmt: skip

    def config(self, instance: Instance) -> dict[str, Any]:
        """The tool's defaults; queries of few inputs are split at these, as its authors do in VNN-COMP."""
        few = instance.input_size <= FEW_INPUTS
        split = {"bab": {"branching": {"method": "sb", "input_split": {"enable": True}}}}
        return {"general": {"device": self.device, "conv_mode": "matrix"}, **(split if few else {})}

    def environment(self, limits: Limits) -> dict[str, str]:
        threads = str(limits.cores)
        paths = [home(), *bundled()]
        return {
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
        }

    def parse(self, instance: Instance, finished: Finished) -> Answer:
        """The verdict of the results file; `timeout` there may mean `unknown`, which only the log tells."""
        text = finished.files.get(RESULTS, "")
        if not text.strip():
            if finished.termination is not Termination.EXITED:
                return Answer(claim=Claim.NONE, reason="stopped before it wrote a result")
            last = finished.stderr.strip().splitlines()[-1:] or ["no results file"]
            return Answer(claim=Claim.ERROR, reason=last[0][:200])
        answer = answer_from_words(text)
        given_up = [phrase for phrase in GAVE_UP if phrase in finished.stdout]
        if answer.claim is Claim.TIMEOUT and given_up and TIMED_OUT not in finished.stdout:
            return Answer(claim=Claim.UNKNOWN, reason=given_up[0])
        return answer
