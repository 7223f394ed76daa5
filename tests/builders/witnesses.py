"""Instances with their files on disk, and witnesses of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from salver.explain.explanation import Explanation
from salver.explain.gradient import Gradient
from salver.families.instance import Facts, Instance
from salver.families.other_class import SameMap
from salver.judge.loaded import LoadedInstance, LoadedSet
from salver.nets.network import Network
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.operators import Linear, Node, Relu

HIDDEN = np.array([[1, -1], [0, 1]], np.float32)


LAST = np.array([[2, -1], [0, 1]], np.float32)


def classifier(last: np.ndarray = LAST) -> Network:
    nothing = np.zeros(2, np.float32)
    nodes = (
        Node("h", Linear(HIDDEN, nothing), ("X",), (2,)),
        Node("r", Relu(), ("h",), (2,)),
        Node("z", Linear(last, nothing), ("r",), (2,)),
    )
    return Network("X", 2, nodes, "z")


def saved(network: Network, path: Path) -> Path:
    path.write_bytes(to_bytes(to_model(network)))
    return path


def instance(explanation: Explanation | None = Gradient()) -> Instance:  # noqa: B008 - it is frozen
    facts = Facts(
        family="f", network="n", dataset="d", index=0, label=0, explanation=explanation,
        question=SameMap(delta=0.5, targets=(1,)), epsilon=0.5, input_shape=(2,), logits=2, saliencies=2,
    )  # fmt: skip
    return Instance(
        id="i", suite="s", name="i", onnx="onnx/i.onnx", vnnlib="vnnlib/i.vnnlib", vnnlib2="vnnlib2/i.vnnlib",
        network="networks/n.onnx", timeout=1.0, operators=(), facts=facts,
    )  # fmt: skip


def of_network(path: Path, one: Instance) -> LoadedInstance:
    """The instance as it is loaded where a file is the network that it is about."""
    named = one.model_copy(update={"network": path.name})
    return LoadedSet(path.parent, {one.id: named})[one.id]


def flat(*x: float) -> str:
    return "(" + "\n ".join(f"(X_{i} {value!r})" for i, value in enumerate(x)) + "\n (Y_0 7.0))"
