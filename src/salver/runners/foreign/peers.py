"""Verifiers of others that `salver solvers install` gives an environment of their own.

Each has a lock in `locks/`. What it shares with salver, torch above all, is borrowed from the environment
that salver runs in, unless the tool demands another version.
"""

from __future__ import annotations

from importlib.resources import files

from salver.core.records import Record


class Peer(Record):
    """One such verifier.

    Attributes:
        name: of the runner, the lock and the environment.
        home: variable that names the tool's checkout; empty for tools on PyPI.
        borrows: distributions it needs of salver's environment, with the version demanded ("" for any).
        stands_in: modules that are imported but never needed for our queries, written as stand-ins where
            salver's environment has none.
        imports: what must import in the new environment.
    """

    name: str
    url: str
    licence: str
    home: str = ""
    borrows: dict[str, str]
    stands_in: tuple[str, ...] = ()
    imports: tuple[str, ...]

    @property
    def lock(self) -> str:
        """Its own packages, pinned, one a line."""
        return files("salver.runners.foreign").joinpath("locks", f"{self.name}.txt").read_text()


_NUMERICAL = {"numpy": "", "scipy": "", "torch": "", "onnx": "", "onnxruntime": "", "protobuf": ""}
PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            name="vibecheck",
            url="https://github.com/stanleybak/vibecheck-nn",
            licence="GPL-3.0-or-later",
            borrows={**_NUMERICAL, "onnx": "1.21.0", "onnxruntime": "1.26.0"},
            imports=("vibecheck", "gurobipy", "onnxsim", "torch"),
        ),
        Peer(
            name="neuralsat",
            url="https://github.com/dynaroars/neuralsat",
            licence="MIT",
            borrows={**_NUMERICAL, "sortedcontainers": "", "psutil": "", "tqdm": "", "joblib": ""},
            stands_in=("torchvision",),
            imports=("src", "gurobipy", "onnxsim", "beartype", "torch"),
        ),
        Peer(
            name="abcrown",
            url="https://github.com/Verified-Intelligence/alpha-beta-CROWN",
            licence="BSD-3-Clause",
            home="ABCROWN_HOME",
            borrows={**_NUMERICAL, "sortedcontainers": "", "psutil": "", "tqdm": "", "pandas": "",
                     "PyYAML": "", "appdirs": "", "packaging": ""},
            stands_in=("torchvision",),
            imports=("gurobipy", "onnxsim", "onnxoptimizer", "skl2onnx", "graphviz", "torch"),
        ),
        Peer(
            name="nnenum",
            url="https://github.com/stanleybak/nnenum",
            licence="GPL-3.0-or-later",
            home="NNENUM_HOME",
            borrows={"numpy": "", "scipy": "", "onnx": "", "onnxruntime": "", "threadpoolctl": ""},
            imports=("swiglpk", "skl2onnx", "onnxruntime"),
        ),
    )
}  # fmt: skip
