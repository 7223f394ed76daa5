"""Runs the commands of a page: ours in this process, which has loaded what they need; others in bash."""

from __future__ import annotations

import contextlib
import io
import os
import re
import runpy
import shlex
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from salver.solvers.__main__ import main as solve
from tests.builders.command_line import Called, salver

LIMIT_S = 300
_SET = re.compile(r"^([A-Za-z_]\w*)=(.*)$")


class Session:
    """Where a reader of a page stands: her project, her folder, and the variables that she has set."""

    def __init__(self, project: Path) -> None:
        self.project, self.folder = project, project
        self.variables: dict[str, str] = {}

    def run(self, lines: Sequence[str]) -> Called:
        """Runs lines up to the first that fails.

        Returns:
            The status of the last one that was run, and what all of them printed.
        """
        done = Called(0, "", "")
        for line in lines:
            for command in self._commands(line):
                last = self._run(line, command)
                done = Called(last.returncode, done.stdout + last.stdout, done.stderr + last.stderr)
                if done.returncode != 0:
                    return done
        return done

    def _commands(self, line: str) -> list[list[str]]:
        """The commands of a line joined by `&&`; one empty one where only a shell understands the line."""
        for name, value in self.variables.items():
            line = line.replace(f"${name}", value)
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.commenters, lexer.whitespace_split = "#", True
        found: list[list[str]] = [[]]
        for word in lexer:
            if word == "&&":
                found.append([])
            elif set(word) <= set("|;&<>()") or set(word) & set("$*"):
                return [[]]
            else:
                found[-1].append(word)
        return found

    def _run(self, line: str, command: list[str]) -> Called:
        name, *arguments = command or [""]
        name = name.removeprefix(".venv/bin/")
        if name == "salver":
            return salver(self.project, *arguments, check=False, folder=self.folder)
        if name == "salver-solve":
            return self._called(lambda: solve(arguments))
        if name == "python" and arguments[0].endswith(".py"):
            return self._called(lambda: 0 if runpy.run_path(arguments[0], run_name="__main__") else 1)
        if name == "cd":
            self.folder /= arguments[0]
            return Called(0, "", "")
        if stated := _SET.match(line):
            self.variables[stated[1]] = self._in_bash(f"printf %s {stated[2]}").stdout
            return Called(0, "", "")
        return self._in_bash(line)

    def _called(self, function: Callable[[], int]) -> Called:
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            try:
                status = function()
            except SystemExit as leaving:
                status = leaving.code if isinstance(leaving.code, int) else 1
        return Called(status, out.getvalue(), err.getvalue())

    def _in_bash(self, line: str) -> Called:
        """With this environment's commands first on the path."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "SALVER_ROOT": str(self.project)}
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", line],
            cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT_S,
        )  # fmt: skip
        return Called(done.returncode, done.stdout, done.stderr)
