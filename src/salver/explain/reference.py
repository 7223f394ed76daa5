"""Whether a file computes under ONNX Runtime what it must: at random points, at points that are alike in all
entries, and on kinks.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
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
"""Of each kind. Of a network with more than `MOST_ENTRIES` entries in all tensors a single one is drawn, and
fewer of one almost as large."""
MOST_ENTRIES = 1 << 23
STEPS = 30
"""Evaluations in search of a point where some z is about 0."""
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
        x: float32 [k, n].
        outputs: of the network in double precision [k, m].
        sizes: what the outputs are added up from, at most [k, m].
        kinks: whether a rounding may carry a point over some z = 0 [k].
        drawn: how many of the points are random ones of the range, which come first.
    """

    x: npt.NDArray[np.float32]
    outputs: Array
    sizes: Array
    kinks: npt.NDArray[np.bool_]
    drawn: int

    def random(self) -> Probes:
        """The random points alone."""
        own = slice(self.drawn)
        return Probes(self.x[own], self.outputs[own], self.sizes[own], self.kinks[own], self.drawn)


def probes(
    network: Network, low: npt.ArrayLike = -1.0, high: npt.ArrayLike = 1.0, *, on_kinks: bool = True
) -> Probes:
    """Random points of the range, points alike in all entries, and points where a neuron's z is about 0.

    Args:
        low, high: ends of the range, for all entries or for each [n].
    """
    rng = np.random.default_rng(0)
    low, high = (np.broadcast_to(np.asarray(end, np.float64), network.input_size) for end in (low, high))
    entries = sum(map(math.prod, network.shapes.values()))
    count = max(1, min(POINTS, MOST_ENTRIES // entries))
    drawn = rng.uniform(low, high, (count, network.input_size))
    alike = np.vstack([np.repeat(np.array(_ALIKE)[:, None], network.input_size, axis=1), low, high])[
        : count - 1
    ]
    ends = rng.uniform(low, high, (count, network.input_size))
    with one_thread():
        near = _on_kinks(network, ends, rng) if on_kinks and count > 1 else ends[:0]
    x = np.vstack([drawn, alike, near]).astype(np.float32)
    known = [_known_at(network, x[first : first + count]) for first in range(0, len(x), count)]
    outputs, sizes, kinks = (np.concatenate(parts) for parts in zip(*known, strict=True))
    return Probes(x, outputs, sizes, kinks, count)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Without torch's threads, which wait for each other longer than they work at one small point."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _known_at(network: Network, x: npt.NDArray[np.float32]) -> tuple[Array, Array, npt.NDArray[np.bool_]]:
    """Outputs, sizes and kinks of `Probes` at some of the points."""
    sizes = _tensors(_absolute(network), np.abs(x), single=len(x) == 1)
    exact, single = _tensors(network, x), _tensors(network, x, single=True)
    kinks = np.zeros(len(x), bool)
    for node in network.nodes:
        if node.operator.kinked:
            z, rounded, size = (found[node.inputs[0]] for found in (exact, single, sizes))
            open_ = (np.abs(z) <= KINK * size) & ((z != 0) | (rounded != 0))
            kinks |= open_.reshape(len(x), -1).any(axis=1)
    return exact[network.output], sizes[network.output], kinks


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
    expected = found.outputs
    if run.shape != expected.shape:
        what = f"gives {run.shape[1]} values {by} and {expected.shape[1]} in the graph"
        raise SalverError(what, where, "report it; salver reads it wrongly")
    room = ROUNDING * found.sizes * (0.0 if exact else 1.0)
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
        if run.shape != expected.shape or differ(run[: found.drawn], expected[: found.drawn]):
            what = "differs from the network and its gradient by automatic differentiation"
            raise SalverError(what, "gradient network", "report it; nothing was written")
        return
    absolute, x = _absolute(graph), np.abs(found.x)
    parts = (x[first : first + found.drawn] for first in range(0, len(x), found.drawn))
    sizes = np.concatenate([_tensors(absolute, part, len(part) == 1)[graph.output] for part in parts])
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
    found = [ends[:0]]
    for low, high in zip(ends, np.roll(ends, 1, axis=0), strict=True) if sources else ():
        source = sources[int(rng.integers(len(sources)))]
        z = _behind(network, source)
        crossed = np.flatnonzero((z(low) > 0) != (z(high) > 0))
        if len(crossed):
            found.append(_crossing(z, int(rng.choice(crossed)), low, high)[None])
    return np.concatenate(found)


def _behind(network: Network, source: str) -> Callable[[Array], Array]:
    """A tensor, flat, as a function of the input [n]; what it does not depend on is left out."""
    needed, nodes = {source}, []
    for node in reversed(network.nodes):
        if node.name in needed:
            needed.update(node.inputs)
            nodes.append(node)
    part = replace(network, nodes=tuple(reversed(nodes)), output=source)
    return lambda x: _tensors(part, x[None])[source].ravel()


def _crossing(z: Callable[[Array], Array], place: int, low: Array, high: Array) -> Array:
    """A point between two at which an entry of z is about 0; it has other signs at the ends.

    By false position, where an end that stays twice counts half (Dowell and Jarratt, BIT 11, 1971).
    """
    at_low, at_high = float(z(low)[place]), float(z(high)[place])
    enough = 1e-10 * max(abs(at_low), abs(at_high))
    stayed = 0
    for _ in range(STEPS):
        middle = low + at_low / (at_low - at_high) * (high - low)
        at = float(z(middle)[place])
        if abs(at) <= enough:
            return middle
        if (at > 0) == (at_low > 0):
            low, at_low, at_high = middle, at, at_high / (2 if stayed > 0 else 1)
            stayed = 1
        else:
            high, at_high, at_low = middle, at, at_low / (2 if stayed < 0 else 1)
            stayed = -1
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
