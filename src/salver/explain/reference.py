"""What a gradient network must compute, from the original network by automatic differentiation, and whether
a file does so under ONNX Runtime: at random points, at points that are alike in all entries, and on kinks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from salver.core.errors import SalverError
from salver.explain.autograd import ACTIVATION_MAPS, logits_and_map
from salver.explain.smoothgrad import shifted
from salver.families.instance import Facts
from salver.nets.network import Network, evaluate
from salver.nets.operators import Relu
from salver.nets.runtime import Runtime
from salver.nets.torch_bridge import tensors_in_torch, to_torch

Array = npt.NDArray[np.float64]
POINTS = 8
TOLERANCE = 1e-4
"""Relative to the largest output, between float32 and float64 evaluation away from z = 0."""
ROUNDING = 1e-6
"""Room for single precision, relative to the absolute values that are added up on the way."""
KINK = 1e-5
"""The same for a pre-activation, of which either side of the kink is then right."""
_ALIKE = (0.0, 1.0, -1.0, 0.5)


def reference(original: Network, facts: Facts, x: npt.NDArray[Any]) -> Array:
    """Outputs [batch, m + s] in float64 as the facts define them, by autograd on the original network."""
    if facts.saliencies == 0:
        return evaluate(original, x.astype(np.float64))
    if facts.options.get("map") in ACTIVATION_MAPS:
        expected = logits_and_map(original, facts.label, x, facts.options["map"])
        above = _pixels_above(expected[:, facts.logits :], facts.options)
        return np.hstack([expected, *([above] if "within" in facts.options else [])])
    coefficients = gradient_coefficients(facts.gradient_of, original.output_size)
    expected = by_autograd(original, coefficients, x)
    if "noise" in facts.options:
        draws = [by_autograd(original, coefficients, points) for points in shifted(facts.options, x)]
        expected[:, facts.logits :] = np.mean(draws, axis=0)[:, facts.logits :]
    if facts.options.get("map") == "abs":
        expected[:, facts.logits :] = np.abs(expected[:, facts.logits :])
    if facts.options.get("extra_outputs"):
        left = _members_that_left(expected[:, facts.logits :], facts.options)
        expected = np.hstack([expected, left[:, None]])
    return expected


def by_autograd(network: Network, coefficients: npt.ArrayLike, x: npt.NDArray[Any]) -> Array:
    """Logits and gradient of their combination, [batch, m + n], by torch in float64."""
    import torch

    points = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    logits = to_torch(network, torch.float64)(points)
    (logits @ torch.tensor(coefficients, dtype=torch.float64)).sum().backward()
    assert points.grad is not None
    return np.asarray(torch.cat([logits.detach(), points.grad], dim=1).numpy())


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


def probes(network: Network, low: float = -1.0, high: float = 1.0, *, on_kinks: bool = True) -> Probes:
    """Random points of the range, points alike in all entries, and points where a neuron's z is about 0."""
    rng = np.random.default_rng(0)
    drawn = rng.uniform(low, high, (POINTS, network.input_size))
    alike = np.repeat(np.array([*_ALIKE, low, high])[:, None], network.input_size, axis=1)
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
    expected = np.asarray(_tensors(network, found.x)[network.output])
    room = ROUNDING * found.sizes[network.output]
    if _in_double(model):
        room = np.zeros_like(room)
    off = _off(run, expected, room)
    if off.any():
        row = int(np.argmax(off))
        largest = int(np.argmax(np.abs(run[row] - expected[row])))
        values = f"{run[row, largest]:.6g} under ONNX Runtime and {expected[row, largest]:.6g} in the graph"
        what = f"output {largest} is {values}, which is in single precision"
        raise SalverError(what, where, "export it in float32")


def refuse_wrong_graph(model: bytes, graph: Network, expected: Array, found: Probes, logits: int) -> None:
    """Compares ONNX Runtime on a graph as it is to be written with what it must give at the probes.

    Raises:
        SalverError: they differ.
    """
    run = _run(model, found.x, "gradient network")
    sizes = _tensors(_absolute(graph), np.abs(found.x))[graph.output]
    off = _off(run[:, :logits], expected[:, :logits], ROUNDING * sizes[:, :logits])
    off |= _off(run[:, logits:], expected[:, logits:], ROUNDING * sizes[:, logits:]) & ~found.kinks
    if off.any():
        row = int(np.argmax(off))
        largest = float(np.abs(run[row] - expected[row]).max())
        what = f"differs by {largest:.3g} from the network and its gradient by automatic differentiation"
        raise SalverError(what, "gradient network", "report it; nothing was written")


def refuse_wrong_instance(model: bytes, graph: Network, original: Network, facts: Facts) -> None:
    """Compares ONNX Runtime on a query's graph with what its facts say, at the probes of the data's range.

    The kinks of noisy gradients and of counts lie elsewhere: there most points must agree.

    Raises:
        SalverError: they differ.
    """
    found = probes(original, *(facts.clip or (-1.0, 1.0)), on_kinks=False)
    expected = reference(original, facts, found.x)
    if not facts.options.keys() & {"noise", "extra_outputs", "within"}:
        refuse_wrong_graph(model, graph, expected, found, facts.logits)
        return
    run = _run(model, found.x, "gradient network")
    if run.shape != expected.shape or differ(run[:POINTS], expected[:POINTS]):
        what = "differs from the network and its gradient by automatic differentiation"
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
        runtime = Runtime(model)
        return np.stack([runtime.outputs(row) for row in x])
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
    nodes = tuple(replace(node, operator=node.operator.magnitude()) for node in network.nodes)
    return replace(network, nodes=nodes)


def gradient_coefficients(gradient_of: str, logits: int) -> Array:
    combination = np.zeros(logits)
    for sign, name in zip((1.0, -1.0), gradient_of.split(" - "), strict=False):
        combination[int(name.removeprefix("z_"))] = sign
    return combination


def _members_that_left(saliency: Array, options: dict[str, Any]) -> Array:
    """The extra output of a relaxed ranking at saliencies [batch, n], from its definition."""
    inside = np.array(options["inside"])
    outside = np.setdiff1d(np.arange(saliency.shape[1]), inside)
    leave = options["k"] - options["stay"] + 1
    overtaken = (saliency[:, None, outside] >= saliency[:, inside, None]).sum(axis=2)
    return np.asarray((overtaken >= leave).sum(axis=1), dtype=np.float64)


def _pixels_above(cam: Array, options: dict[str, Any]) -> Array:
    """Per member of the top-k set the pixels outside it that are at or above it, at maps [batch, pixels]."""
    inside = np.array(options.get("inside", []), dtype=int)
    outside = np.setdiff1d(np.arange(cam.shape[1]), inside)
    return np.asarray((cam[:, None, outside] >= cam[:, inside, None]).sum(axis=2), dtype=np.float64)
