"""The checker's own reading of every operator against ONNX Runtime, exactly: small integers everywhere."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from salver.proofs.context import Context
from salver.proofs.graph import Graph
from salver.proofs.onnx_file import parse_network
from salver.proofs.vnnlib_file import ExactProperty

KINDS = (
    "gemm matmul constant both scale gate relu abs concat flatten reshape conv transpose average "
    "permute slice gather pad"
).split()
AVERAGES = ("AveragePool", "GlobalAveragePool", "ReduceMean")


SEEDS = 30


class Drawn:
    """A random network of up to six operators over an image or a row."""

    def __init__(self, seed: int, double: bool) -> None:
        self.rng = np.random.default_rng((seed, 11))
        self.dtype = np.dtype(np.float64 if double else np.float32)
        self.opset = int(self.rng.choice([11, 13, 14, 18]))
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        start = (1, 2, 4, 3) if self.rng.random() < 0.7 else (1, 6)
        self.shapes: dict[str, tuple[int, ...]] = {"X": start}
        for kind in self.rng.choice(KINDS, int(self.rng.integers(1, 7))):
            names = [n for n, shape in self.shapes.items() if np.prod(shape) < 200]
            getattr(self, kind)(str(self.rng.choice(names)))
        self.average_at_last = self.rng.random() < 0.4
        if self.average_at_last:
            self.mean(self.last)

    @property
    def last(self) -> str:
        return list(self.shapes)[-1]

    def ints(self, *shape: int) -> Any:
        return self.rng.integers(-2, 3, shape)

    def constant_of(self, values: Any) -> str:
        name = f"c{len(self.constants)}"
        kind = self.dtype if values.dtype.kind == "f" or values.ndim != 1 else values.dtype
        self.constants.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def floats(self, *shape: int) -> str:
        return self.constant_of(self.ints(*shape).astype(self.dtype))

    def emit(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        """Adds a node whose shape the onnx package says."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        inferred = onnx.shape_inference.infer_shapes(self.model(name), strict_mode=True).graph.output[0]
        self.shapes[name] = tuple(axis.dim_value for axis in inferred.type.tensor_type.shape.dim)
        return name

    def model(self, output: str) -> onnx.ModelProto:
        kind = helper.np_dtype_to_tensor_dtype(self.dtype)
        graph = helper.make_graph(
            self.nodes,
            "drawn",
            [helper.make_tensor_value_info("X", kind, self.shapes["X"])],
            [helper.make_tensor_value_info(output, kind, self.shapes.get(output))],
            self.constants,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)

    def gemm(self, source: str) -> None:
        shape = self.shapes[source]
        if len(shape) != 2:
            source = self.emit("Flatten", [source], axis=1)
        width, out, turned = self.shapes[source][1], int(self.rng.integers(1, 4)), int(self.rng.integers(2))
        inputs = [source, self.floats(out, width) if turned else self.floats(width, out)]
        rows = self.shapes[source][0]
        added = [(out,), (1, out), (1, 1), (1,), (rows, 1)][int(self.rng.integers(5))]
        inputs += [self.floats(*added)] if self.rng.random() < 0.7 else []
        self.emit("Gemm", inputs, **({"transB": turned} if turned or self.rng.random() < 0.5 else {}))

    def matmul(self, source: str) -> None:
        self.emit("MatMul", [source, self.floats(self.shapes[source][-1], int(self.rng.integers(1, 4)))])

    def _broadcast(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        kept = [size if self.rng.random() < 0.6 else 1 for size in shape]
        return tuple(kept[int(self.rng.integers(len(kept))) :])

    def constant(self, source: str) -> None:
        pair = [source, self.floats(*self._broadcast(self.shapes[source]))]
        self.emit(str(self.rng.choice(["Add", "Sub"])), pair if self.rng.random() < 0.6 else pair[::-1])

    def scale(self, source: str) -> None:
        pair = [source, self.floats(*self._broadcast(self.shapes[source]))]
        self.emit("Mul", pair if self.rng.random() < 0.6 else pair[::-1])

    def both(self, source: str) -> None:
        other = str(self.rng.choice([n for n, s in self.shapes.items() if s == self.shapes[source]]))
        self.emit(str(self.rng.choice(["Add", "Sub"])), [source, other])

    def gate(self, source: str) -> None:
        other = str(self.rng.choice([n for n, s in self.shapes.items() if s == self.shapes[source]]))
        mask = self.emit("Relu", [self.emit("Sign", [source])])
        del self.shapes[f"t{len(self.nodes) - 2}"]  # a Sign is read by a Relu alone
        self.emit("Mul", [mask, other] if self.rng.random() < 0.5 else [other, mask])

    def relu(self, source: str) -> None:
        self.emit("Relu", [source])

    def abs(self, source: str) -> None:
        self.emit("Abs", [source])

    def concat(self, source: str) -> None:
        axis = int(self.rng.integers(-len(self.shapes[source]), len(self.shapes[source])))
        self.emit("Concat", [source, self.emit("Relu", [source]), source], axis=axis)

    def flatten(self, source: str) -> None:
        rank = len(self.shapes[source])
        axis = {"axis": int(self.rng.integers(-rank, rank + 1))} if self.rng.random() < 0.7 else {}
        self.emit("Flatten", [source], **axis)

    def reshape(self, source: str) -> None:
        shape = self.shapes[source]
        choices = [(-1,), (0, -1), (1, -1), (*shape, 1), (shape[0], 0, -1), (-1, shape[-1])]
        chosen = np.array(choices[int(self.rng.integers(len(choices)))], np.int64)
        self.emit("Reshape", [source, self.constant_of(chosen)])

    def _image(self, source: str) -> str:
        shape = self.shapes[source]
        if len(shape) == 4 and shape[0] == 1:
            return source
        target = np.array([1, 1, -1, shape[-1]], np.int64)
        return self.emit("Reshape", [source, self.constant_of(target)])

    def _window(self, source: str, kernel: list[int]) -> dict[str, Any]:
        pads = [int(v) for v in self.rng.integers(0, 2, 4)]
        found = {"strides": [int(v) for v in self.rng.integers(1, 3, 2)], "pads": pads}
        if self.rng.random() < 0.5:
            found["dilations"] = [int(v) for v in self.rng.integers(1, 3, 2)]
        if self.rng.random() < 0.5:
            found["kernel_shape"] = kernel
        reach = [d * (k - 1) + 1 for d, k in zip(found.get("dilations", [1, 1]), kernel, strict=True)]
        rows, columns = self.shapes[source][2:]
        grown = (max(0, reach[0] - rows), max(0, reach[1] - columns))
        found["pads"] = [pads[0] + grown[0], pads[1] + grown[1], pads[2], pads[3]]
        return found

    def conv(self, source: str) -> None:
        source = self._image(source)
        channels, kernel = self.shapes[source][1], [int(v) for v in self.rng.integers(1, 4, 2)]
        groups = channels if self.rng.random() < 0.3 else 1
        out = groups * int(self.rng.integers(1, 3))
        inputs = [source, self.floats(out, channels // groups, *kernel)]
        inputs += [self.floats(out)] if self.rng.random() < 0.5 else []
        self.emit("Conv", inputs, **self._window(source, kernel), **({"group": groups} if groups > 1 else {}))

    def transpose(self, source: str) -> None:
        source = self._image(source)
        channels, kernel = self.shapes[source][1], [int(v) for v in self.rng.integers(2, 4, 2)]
        groups = channels if self.rng.random() < 0.3 else 1
        out = int(self.rng.integers(1, 3))
        inputs = [source, self.floats(channels, out, *kernel)]
        inputs += [self.floats(out * groups)] if self.rng.random() < 0.5 else []
        window = {**self._window(source, kernel), "pads": [0, 0, 0, 0]}
        if min(self.shapes[source][2:]) > 1:
            window["pads"] = [int(v) for v in self.rng.integers(0, 2, 4)]
        self.emit("ConvTranspose", inputs, **window, **({"group": groups} if groups > 1 else {}))

    def permute(self, source: str) -> None:
        rank = len(self.shapes[source])
        axes = {} if self.rng.random() < 0.2 else {"perm": [int(a) for a in self.rng.permutation(rank)]}
        self.emit("Transpose", [source], **axes)

    def slice(self, source: str) -> None:
        axis = int(self.rng.integers(len(self.shapes[source])))
        size = self.shapes[source][axis]
        start, step = int(self.rng.integers(size)), int(self.rng.integers(1, 3))
        end = int(self.rng.choice([size, start + 1, 1 << 40, -1 if start < size - 1 else size]))
        start -= size * int(self.rng.integers(2))
        given = [start, end, axis, step][: int(self.rng.integers(3, 5))]
        self.emit("Slice", [source, *(self.constant_of(np.array([v], np.int64)) for v in given)])

    def gather(self, source: str) -> None:
        axis = int(self.rng.integers(-len(self.shapes[source]), len(self.shapes[source])))
        size = self.shapes[source][axis]
        places = self.rng.integers(-size, size, int(self.rng.integers(1, 4)))
        self.emit("Gather", [source, self.constant_of(places)], axis=axis)

    def pad(self, source: str) -> None:
        pads = self.rng.integers(0, 2, 2 * len(self.shapes[source]))
        mode = {"mode": "constant"} if self.rng.random() < 0.3 else {}
        self.emit("Pad", [source, self.constant_of(pads)], **mode)

    def average(self, source: str) -> None:
        """Averages stand at the end alone, where nothing depends on how they are rounded."""

    def mean(self, source: str) -> None:
        match str(self.rng.choice(AVERAGES)):
            case "AveragePool":
                source = self._image(source)
                kernel = [int(v) for v in np.minimum(self.rng.integers(1, 4, 2), self.shapes[source][2:])]
                pads = [int(self.rng.integers(0, kernel[axis % 2])) for axis in range(4)]
                strides = [int(v) for v in self.rng.integers(1, 3, 2)]
                count = {"count_include_pad": int(self.rng.integers(2))} if self.rng.random() < 0.7 else {}
                self.emit("AveragePool", [source], kernel_shape=kernel, pads=pads, strides=strides, **count)
            case "GlobalAveragePool":
                self.emit("GlobalAveragePool", [self._image(source)])
            case _:
                self._reduce(source, len(self.shapes[source]))

    def _reduce(self, source: str, rank: int) -> None:
        axes = [int(a) for a in self.rng.choice(rank, int(self.rng.integers(1, rank + 1)), replace=False)]
        axes = [axis - rank if self.rng.random() < 0.5 else axis for axis in axes]
        keep = {"keepdims": int(self.rng.integers(2))} if self.rng.random() < 0.7 else {}
        if self.opset < 18:
            self.emit("ReduceMean", [source], **({"axes": axes} if self.rng.random() < 0.8 else {}), **keep)
        else:
            self.emit("ReduceMean", [source, self.constant_of(np.array(axes, np.int64))], **keep)


def _ranges(graph: Graph, x: Any) -> tuple[list[Fraction], list[Fraction]]:
    """The checker's range of every output at a point."""
    point = tuple(Fraction(float(value)) for value in x.ravel())
    context = Context.start(graph, ExactProperty(point, point, (), graph.output_size))
    sides = (context.low[graph.network.output], context.high[graph.network.output])
    low, high = ([Fraction(int(v), context.unit.one) for v in side] for side in sides)
    return low, high


def _session(drawn: Drawn) -> Any:
    content = drawn.model(drawn.last).SerializeToString()
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("double", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_network_means_what_other_readers_say(seed: int, double: bool) -> None:
    drawn = Drawn(seed, double)
    twin = Drawn(seed, False) if double else drawn
    for one in {drawn, twin}:
        one.relu(one.last)
    graph = Graph(parse_network(drawn.model(drawn.last).SerializeToString()))
    session = _session(twin)  # not every operator runs in double precision; small integers are exact in both
    for _ in range(3):
        x = drawn.rng.integers(-3, 4, drawn.shapes["X"]).astype(np.float32)
        (expected,) = session.run(None, {"X": x})
        low, high = _ranges(graph, x)
        for below, value, above in zip(low, expected.ravel().tolist(), high, strict=True):
            if drawn.average_at_last:
                assert above - below <= Fraction(1, 1 << 40)
                assert float(below) == pytest.approx(value, rel=1e-5, abs=1e-5)
                exact = Fraction(float(below)).limit_denominator(10_000)
                assert below <= exact <= above
            else:
                assert below == Fraction(value) == above


def test_all_operators_are_drawn() -> None:
    drawn = Counter(node.op_type for seed in range(SEEDS) for node in Drawn(seed, False).nodes)
    known = (
        "Gemm MatMul Add Sub Mul Relu Sign Abs Concat Flatten Reshape Conv ConvTranspose "
        "Transpose Slice Gather Pad"
    ).split()
    assert set(drawn) == {*known, *AVERAGES}


def test_stored_bits_are_taken_as_the_numbers_that_they_are() -> None:
    weight = np.array([[0.1]], np.float64)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["X", "w"], ["Y"])],
        "double",
        [helper.make_tensor_value_info("X", TensorProto.DOUBLE, (1, 1))],
        [helper.make_tensor_value_info("Y", TensorProto.DOUBLE, (1, 1))],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    low, high = _ranges(Graph(parse_network(model.SerializeToString())), np.ones((1, 1)))
    assert low[0] <= Fraction(0.1) <= high[0]
    assert high[0] - low[0] <= Fraction(1, 1 << 48)
    assert Fraction(float(np.float32(0.1))) > high[0]
