"""Follows README.md alone in a fresh clone, to a newcomer's own network on the board, and times every step.

python -m experiments.newcomer [--install]

Without `--install` the clone uses this checkout's environment; with it, its own is set up as README says.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.docs.commands import ROOT, Block, blocks

# What a newcomer brings: a trained network as torch exports it by default, and points to explain.
OWN = """
import numpy as np, torch
from sklearn.datasets import load_iris

x, y = load_iris(return_X_y=True)
x = ((x - x.min(0)) / (x.max(0) - x.min(0))).astype("float32")
torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
optimiser = torch.optim.Adam(net.parameters(), 0.05)
for _ in range(200):
    optimiser.zero_grad()
    torch.nn.functional.cross_entropy(net(torch.tensor(x)), torch.tensor(y)).backward()
    optimiser.step()
torch.onnx.export(net.eval(), (torch.zeros(1, 4),), "net.onnx")
np.savez("data.npz", x=x, y=y)
"""


def steps(readme: list[Block], install: bool) -> list[tuple[str, list[str]]]:
    """What is done, with its command line, in the order of the text."""
    (python,) = [block for block in readme if block.language == "python" and "import numpy" in block.lines[0]]
    setup = [("set up", ["scripts/setup.sh"])] if install else []
    return [
        *setup,
        ("the example in Python", [".venv/bin/python", "-c", "\n".join(python.lines)]),
        ("train and export an own network", [".venv/bin/python", "-c", OWN]),
        ("salver all mine.toml", [".venv/bin/salver", "all", "mine.toml"]),
    ]


def follow(folder: Path, install: bool) -> Path:
    """Follows the steps in a clone in `folder`; returns the page.

    Raises:
        SystemExit: a step fails, or the board lacks the network.
    """
    clone = folder / "salver"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    if not install:
        (clone / ".venv").symlink_to(sys.prefix)
    readme = blocks(clone / "README.md")
    for block in readme:
        if block.file_name == "mine.toml":
            (clone / "mine.toml").write_text("\n".join(block.lines))
    environment = {name: value for name, value in os.environ.items() if name != "SALVER_ROOT"}
    environment["PYTHONPATH"] = str(clone / "src")
    for name, command in steps(readme, install):
        since, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            command, cwd=clone, env=environment, capture_output=True, text=True, check=False
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(f"{name:34} {time.monotonic() - since:7.1f} s wall  {cpu:7.1f} s CPU", flush=True)
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
    (page,) = (clone / "reports").glob("*/index.html")
    if "net.onnx" not in page.read_text():
        raise SystemExit(f"{page}: the own network is not on it")
    return page


def main() -> None:
    """Prints one line a step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--install", action="store_true", help="set up an environment as README says")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="salver-newcomer-") as folder:
        follow(Path(folder), given.install)


if __name__ == "__main__":
    main()
