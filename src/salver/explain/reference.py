"""Whether a file computes under ONNX Runtime what it must: at random points, at points that are alike in all
entries, and on kinks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from salver.core.errors import SalverError
from salver.nets.network import Network
from salver.nets.operators import Relu
from salver.nets.runtime import Runtime
from salver.nets.torch_bridge import tensors_in_torch

Array = npt.NDArray[np.float64]
POINTS = 8
TOLERANCE = 1e-4
"""Relative to the largest output, between float32 and float64 evaluation away from z = 0."""
ROUNDING = 1e-6
"""Room for single precision, relative to the absolute values that are added up on the way."""
KINK = 1e-5
"""The same for a pre-activation, of which either side of the kink is then right."""
_ALIKE = (0.0, 1.0, -1.0, 0.5)


def differ(first: Array, second: Array) -> bool:
    """A point on an activation boundary may fall on either side, so most points must agree, not all."""
    scale = max(1.0, float(np.abs(second).max()))
    wrong = np.abs(first - second).max(axis=1) > TOLERANCE * scale
    return int(wrong.sum()) > len(first) // 4


@dataclass(frozen=True, eq=False)
class Probes:
    """Points at which a network is compared with another form of it.

    Attributes:
        x: float32 [k, n]. sizes: tensor -> what its entries are added up from, at most, [k, ...].
        kinks: whether a rounding may carry a point over some z = 0 [k].
    """

    x: npt.NDArray[np.float32]
    sizes: dict[str, Array]
    kinks: npt.NDArray[np.bool_]


def probes(
    network: Network, low: npt.ArrayLike = -1.0, high: npt.ArrayLike = 1.0, *, on_kinks: bool = True
) -> Probes:
    """Random points of the range, points alike in all entries, and points where a neuron's z is about 0.

    Args:
        low, high: ends of the range, for all entries or for each [n].
    """
    rng = np.random.default_rng(0)
    low, high = (np.broadcast_to(np.asarray(end, np.float64), network.input_size) for end in (low, high))
    drawn = rng.uniform(low, high, (POINTS, network.input_size))
    alike = np.vstack([np.repeat(np.array(_ALIKE)[:, None], network.input_size, axis=1), low, high])
    ends = rng.uniform(low, high, (POINTS, network.input_size))
    near = _on_kinks(network, ends, rng) if on_kinks else ends[:0]
    x = np.vstack([drawn, alike, near]).astype(np.float32)
    sizes = _tensors(_absolute(network), np.abs(x))
    exact, single = _tensors(network, x), _tensors(network, x, single=True)
    kinks = np.zeros(len(x), bool)
    for node in network.nodes:
        if node.operator.kinked:
            z, rounded, size = (found[node.inputs[0]] for found in (exact, single, sizes))
            open_ = (np.abs(z) <= KINK * size) & ((z != 0) | (rounded != 0))
            kinks |= open_.reshape(len(x), -1).any(axis=1)
    return Probes(x, sizes, kinks)


def refuse_misread(model: onnx.ModelProto, network: Network, found: Probes, where: str) -> None:
    """Compares ONNX Runtime on a classifier's file with the network that was read from it.

    Raises:
        SalverError: they differ, or ONNX Runtime does not take the file.
    """
    run = _run(model.SerializeToString(), found.x, where)
    refuse_differing(run, network, found, where, "under ONNX Runtime", exact=_in_double(model))


def refuse_differing(
    run: Array, network: Network, found: Probes, where: str, by: str, *, exact: bool = False
) -> None:
    """Compares what a network gives at the probes with what its source gave.

    Args:
        run: outputs of the source [k, m]. by: who computed them, for people.
        exact: whether the source computes in double precision, which excuses no rounding.

    Raises:
        SalverError: they differ.
    """
    expected = np.asarray(_tensors(network, found.x)[network.output])
    if run.shape != expected.shape:
        what = f"gives {run.shape[1]} values {by} and {expected.shape[1]} in the graph"
        raise SalverError(what, where, "report it; salver reads it wrongly")
    room = ROUNDING * found.sizes[network.output] * (0.0 if exact else 1.0)
    off = _off(run, expected, room)
    if off.any():
        row = int(np.argmax(off))
        largest = int(np.argmax(np.abs(run[row] - expected[row])))
        values = f"{run[row, largest]:.6g} {by} and {expected[row, largest]:.6g} in the graph"
        what = f"output {largest} is {values}, which is in single precision"
        raise SalverError(what, where, "export it in float32")


def refuse_wrong_graph(
    model: bytes, graph: Network, expected: Array, found: Probes, logits: int, kinks_known: bool = True
) -> None:
    """Compares ONNX Runtime on a graph as it is to be written with what it must give at the probes.

    Args:
        kinks_known: whether the graph bends nowhere but where the probes' network does; else most of the
            random points must agree, and not all.

    Raises:
        SalverError: they differ.
    """
    run = _run(model, found.x, "gradient network")
    if not kinks_known:
        if run.shape != expected.shape or differ(run[:POINTS], expected[:POINTS]):
            what = "differs from the network and its gradient by automatic differentiation"
            raise SalverError(what, "gradient network", "report it; nothing was written")
        return
    sizes = _tensors(_absolute(graph), np.abs(found.x))[graph.output]
    off = _off(run[:, :logits], expected[:, :logits], ROUNDING * sizes[:, :logits])
    off |= _off(run[:, logits:], expected[:, logits:], ROUNDING * sizes[:, logits:]) & ~found.kinks
    if off.any():
        row = int(np.argmax(off))
        largest = float(np.abs(run[row] - expected[row]).max())
        what = f"differs by {largest:.3g} from the network and its gradient by automatic differentiation"
        raise SalverError(what, "gradient network", "report it; nothing was written")


def _off(run: Array, expected: Array, room: Array) -> npt.NDArray[np.bool_]:
    """Rows [k] that differ by more than rounding explains."""
    if run.shape != expected.shape:
        return np.ones(len(run), bool)
    scale = np.abs(expected).max(axis=1, keepdims=True, initial=0.0)
    close = np.abs(run - expected) <= TOLERANCE * scale + room
    return np.asarray(~close.all(axis=1))


def _run(model: bytes, x: npt.NDArray[np.float32], where: str) -> Array:
    try:
        return Runtime(model).samples(x)
    except Exception as error:  # ONNX Runtime raises a dozen unrelated types
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise SalverError(f"ONNX Runtime does not run it ({first:.160})", where, "export it again") from error


def _in_double(model: onnx.ModelProto) -> bool:
    """Whether the file holds anything of double precision."""
    double = onnx.TensorProto.DOUBLE
    graph = model.graph
    ends = (*graph.input, *graph.output)
    constants = [a.t for node in graph.node for a in node.attribute if node.op_type == "Constant"]
    return (
        any(tensor.data_type == double for tensor in (*graph.initializer, *constants))
        or any(value.type.tensor_type.elem_type == double for value in ends)
        or any(a.name == "to" and a.i == double for node in graph.node for a in node.attribute)
    )


def _on_kinks(network: Network, ends: Array, rng: np.random.Generator) -> Array:
    """Points [k, n] between pairs of `ends` where the z of some neuron is about 0."""
    sources = [node.inputs[0] for node in network.nodes if isinstance(node.operator, Relu)]
    if not sources:
        return ends[:0]
    low, high = ends, np.roll(ends, 1, axis=0)
    before, after = (_tensors(network, side) for side in (low, high))
    picks = []
    for row in range(len(ends)):
        source = sources[int(rng.integers(len(sources)))]
        crossed = np.flatnonzero((before[source][row] > 0).ravel() != (after[source][row] > 0).ravel())
        if len(crossed):
            picks.append((row, source, int(rng.choice(crossed))))
    rows = [row for row, _, _ in picks]
    low, high = low[rows], high[rows]
    for _ in range(30 if picks else 0):
        middle = (low + high) / 2
        found, start = _tensors(network, middle), _tensors(network, low)
        same = np.array(
            [
                (found[source][i].ravel()[place] > 0) == (start[source][i].ravel()[place] > 0)
                for i, (_, source, place) in enumerate(picks)
            ]
        )
        low, high = np.where(same[:, None], middle, low), np.where(same[:, None], high, middle)
    return low


def _tensors(network: Network, x: npt.NDArray[Any], single: bool = False) -> dict[str, Array]:
    import torch

    kind = torch.float32 if single else torch.float64
    with torch.no_grad():
        values = tensors_in_torch(network, kind)(torch.tensor(x, dtype=kind))
    return {name: np.asarray(value.numpy(), np.float64) for name, value in values.items()}


def _absolute(network: Network) -> Network:
    """The network over absolute values: no entry of the original is larger at inputs of the same size."""
    nodes = tuple(node.with_operator(node.operator.magnitude()) for node in network.nodes)
    return replace(network, nodes=nodes)
