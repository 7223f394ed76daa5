"""The runner, which salver finds by the entry point `salver.runners`."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

from salver.families.instance import Instance
from salver.runners.answers import Answer, StagedInstance
from salver.runners.contract import Runner, answer_from_words
from salver.supervise.finished import Finished, Limits


class Corners(Runner):
    name = "corners"
    url = "https://example.org/corners"

    def version(self) -> str:
        return version("salver-example-solver")

    def command(self, staged: StagedInstance, workdir: Path, limits: Limits) -> list[str]:
        tool = Path(__file__).with_name("solver.py")
        return [sys.executable, str(tool), str(staged.onnx), str(staged.vnnlib), f"{limits.wall_s:g}"]

    def parse(self, instance: Instance, finished: Finished) -> Answer:
        return answer_from_words(finished.stdout)
