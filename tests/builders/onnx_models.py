"""ONNX models node by node."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

FLOAT, DOUBLE = TensorProto.FLOAT, TensorProto.DOUBLE


Node = tuple[str, list[str], dict[str, Any]]


def model_of(
    *nodes: Node,
    constants: dict[str, Any] | None = None,
    shape: tuple[Any, ...] = (1, 4),
    kind: int = FLOAT,
    opset: int = 13,
) -> onnx.ModelProto:
    """Nodes t0, t1, ... after the input X; the last makes Y."""
    names = [*(f"t{number}" for number in range(len(nodes) - 1)), "Y"]
    made = [helper.make_node(op, i, [n], **a) for (op, i, a), n in zip(nodes, names, strict=True)]
    graph = helper.make_graph(
        made,
        "refused",
        [helper.make_tensor_value_info("X", kind, shape)],
        [helper.make_tensor_value_info("Y", kind, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


RELU: Node = ("Relu", ["X"], {})


Nodes = list[onnx.NodeProto]


def made(nodes: Nodes, shape: list[int], opset: int = 18, output: str = "Y") -> onnx.ModelProto:
    inputs = [helper.make_tensor_value_info("X", TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_empty_tensor_value_info(output)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    inferred = shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    onnx.checker.check_model(inferred)
    return inferred


def constant(name: str, value: Any, kind: Any = np.float32) -> onnx.NodeProto:
    return helper.make_node(
        "Constant", [], [name], value=numpy_helper.from_array(np.asarray(value, kind), name)
    )


class Chain:
    """Operators one after the other, each drawn for the shape that the last one left."""

    def __init__(self, shape: list[int], seed: int) -> None:
        self.random, self.shape, self.first = random.Random(seed), list(shape), list(shape)
        self.nodes: Nodes = []
        self.name = "X"

    def fresh(self) -> str:
        return f"t{len(self.nodes)}"

    def const(self, value: Any, kind: Any = np.int64) -> str:
        name = self.fresh()
        self.nodes.append(constant(name, value, kind))
        return name

    def weights(self, shape: list[int]) -> str:
        count = int(np.prod(shape))
        values = [self.random.choice([-2.0, -1.0, 0.0, 0.5, 1.0]) for _ in range(count)]
        return self.const(np.reshape(values, shape), np.float32)

    def apply(self, kind: str, inputs: list[str], count: int = 1, **attributes: Any) -> list[str]:
        outputs = [f"{self.fresh()}_{i}" for i in range(count)]
        self.nodes.append(helper.make_node(kind, inputs, outputs, **attributes))
        return outputs

    def take(self, name: str) -> None:
        model = made(self.nodes, self.first, output=name)
        tensor = model.graph.output[0].type.tensor_type
        self.shape = [axis.dim_value for axis in tensor.shape.dim]
        self.name = name

    def step(self) -> None:
        if not self.shape:
            self.take(self.apply("Unsqueeze", [self.name, self.const([0])])[0])
        if np.prod(self.shape) > 60:
            return
        getattr(self, self.random.choice([n for n in dir(self) if n.startswith("on_")]))()

    def axis(self) -> int:
        axis = self.random.randrange(len(self.shape))
        return axis - self.random.choice([0, len(self.shape)])

    def on_transpose(self) -> None:
        axes = list(range(len(self.shape)))
        self.random.shuffle(axes)
        self.take(self.apply("Transpose", [self.name], perm=axes)[0])

    def on_slice(self) -> None:
        axis = self.axis()
        size, step = self.shape[axis], self.random.choice([1, 1, 2, -1, -2])
        start = self.random.randrange(size) - self.random.choice([0, size])
        end = self.random.choice([1000, size]) if step > 0 else self.random.choice([-1000, -size - 1])
        pieces = [self.const([value]) for value in (start, end, axis, step)]
        self.take(self.apply("Slice", [self.name, *pieces])[0])

    def on_gather(self) -> None:
        axis = self.axis()
        size = self.shape[axis]
        shape = self.random.choice([[], [1], [2], [2, 2]])
        places = [self.random.randrange(-size, size) for _ in range(int(np.prod(shape)))]
        where = self.const(np.reshape(places, shape))
        self.take(self.apply("Gather", [self.name, where], axis=axis)[0])

    def on_split(self) -> None:
        axis = self.axis()
        first = self.random.randint(1, self.shape[axis])
        sizes = [first] + ([self.shape[axis] - first] if first < self.shape[axis] else [])
        parts = self.apply("Split", [self.name, self.const(sizes)], len(sizes), axis=axis)
        self.take(self.random.choice(parts))

    def on_expand(self) -> None:
        target = [2 if size == 1 and self.random.random() < 0.5 else size for size in self.shape]
        target = [self.random.choice([1, 2]), *target] if self.random.random() < 0.3 else target
        self.take(self.apply("Expand", [self.name, self.const(target)])[0])

    def on_reduce(self) -> None:
        axes = self.random.sample(range(len(self.shape)), self.random.randint(1, len(self.shape)))
        axes = self.random.choice([axes, [self.axis()], []])
        keep = self.random.choice([0, 1])
        options = {"noop_with_empty_axes": self.random.choice([0, 1])} if not axes else {}
        count = int(np.prod([self.shape[axis] for axis in axes or range(len(self.shape))]))
        # A mean of three is no number of single precision, and a comparison may follow.
        kind = self.random.choice(["ReduceSum", "ReduceMean"]) if count in (1, 2, 4, 8) else "ReduceSum"
        given = [self.const(axes)] if axes else []
        self.take(self.apply(kind, [self.name, *given], keepdims=keep, **options)[0])

    def on_layout(self) -> None:
        kind = self.random.choice(["Flatten", "Unsqueeze", "Reshape", "Neg", "Relu", "Abs"])
        inputs = [self.name]
        inputs += [self.const([self.random.choice([0, -1])])] if kind == "Unsqueeze" else []
        inputs += [self.const([-1, self.random.choice([1, self.shape[-1]])])] if kind == "Reshape" else []
        options = {"axis": self.random.randint(0, len(self.shape))} if kind == "Flatten" else {}
        self.take(self.apply(kind, inputs, **options)[0])

    def on_constant(self) -> None:
        shape = [self.random.choice([1, size]) for size in self.shape][self.random.choice([0, -1]) :]
        shape = [2, *shape] if len(shape) == len(self.shape) and self.random.random() < 0.3 else shape
        operands = [self.name, self.weights(shape)]
        self.random.shuffle(operands)
        self.take(self.apply(self.random.choice(["Add", "Sub", "Mul"]), operands)[0])

    def on_sum(self) -> None:
        other = self.apply("ReduceSum", [self.name, self.const([self.axis()])], keepdims=1)[0]
        self.take(self.apply(self.random.choice(["Add", "Sub"]), [other, self.name])[0])

    def on_concat(self) -> None:
        parts = self.random.choice(
            [[self.name, self.weights(self.shape)], [self.weights(self.shape), self.name, self.name]]
        )
        self.take(self.apply("Concat", parts, axis=self.axis())[0])

    def on_matmul(self) -> None:
        factors = [self.name, self.weights([self.shape[-1], 2])]
        if len(self.shape) > 1 and self.random.random() < 0.3:
            factors = [self.weights([2, self.shape[-2]]), self.name]
        if len(self.shape) > 2 and factors[1] == self.name:
            return
        self.take(self.apply("MatMul", factors)[0])

    def comparison(self) -> str:
        kind = self.random.choice(["Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Equal"])
        other = self.random.choice(
            [self.weights([1]), self.weights(self.shape[-1:]), self.apply("Neg", [self.name])[0]]
        )
        operands = [self.name, other]
        self.random.shuffle(operands)
        truth = self.apply(kind, operands)[0]
        return self.apply("Not", [truth])[0] if self.random.random() < 0.3 else truth

    def on_truth(self) -> None:
        truth = self.comparison()
        if self.random.random() < 0.3:
            truth = self.apply("Cast", [self.name], to=TensorProto.BOOL)[0]
        self.take(self.apply("Cast", [truth], to=TensorProto.FLOAT)[0])

    def on_choice(self) -> None:
        other = self.random.choice([self.weights(self.shape), self.weights([1]), self.name])
        operands = [self.name, other]
        self.random.shuffle(operands)
        condition = self.comparison()
        if self.random.random() < 0.2:
            condition = self.const([self.random.random() < 0.5 for _ in range(self.shape[-1])], np.bool_)
        elif self.random.random() < 0.3:
            operands[operands.index(self.name)] = self.apply("Neg", [self.name])[0]
        self.take(self.apply("Where", [condition, *operands])[0])

    def on_piecewise(self) -> None:
        kind = self.random.choice(["LeakyRelu", "PRelu", "Clip", "HardSigmoid"])
        options = {"LeakyRelu": {"alpha": 0.25}, "HardSigmoid": {"alpha": 0.25, "beta": 0.5}}.get(kind, {})
        inputs = [self.name]
        inputs += [self.weights(self.shape[-1:])] if kind == "PRelu" else []
        if kind == "Clip":
            low, high = self.const(-0.5, np.float32), self.const(1.0, np.float32)
            inputs += self.random.choice([[low, high], [low], ["", high]])
        self.take(self.apply(kind, inputs, **options)[0])

    def on_extreme(self) -> None:
        kind = self.random.choice(["Max", "Min", "Sum", "Mean"])
        other = self.random.choice([self.weights([1]), self.weights(self.shape[-1:]), self.name])
        operands = [self.apply("Neg", [self.name])[0], other]
        operands += [self.name] if kind == "Sum" else []
        self.random.shuffle(operands)
        self.take(self.apply(kind, operands)[0])

    def on_largest(self) -> None:
        kind = self.random.choice(["ReduceMax", "ReduceMin"])
        self.take(self.apply(kind, [self.name, self.const([self.axis()])], keepdims=1)[0])

    def on_pad(self) -> None:
        pads = [self.random.randint(0, 1) for _ in range(2 * len(self.shape))]
        self.take(
            self.apply("Pad", [self.name, self.const(pads)], mode=self.random.choice(["constant", "edge"]))[0]
        )

    def on_tile(self) -> None:
        self.take(
            self.apply("Tile", [self.name, self.const([self.random.randint(1, 2) for _ in self.shape])])[0]
        )

    def on_shape(self) -> None:
        size = self.apply("Shape", [self.name])[0]
        value = numpy_helper.from_array(np.array([1.5], np.float32))
        filled = self.apply("ConstantOfShape", [size], value=value)[0]
        self.take(self.apply("Mul", [self.name, filled])[0])


def chain(shape: list[int], seed: int, length: int) -> onnx.ModelProto:
    drawn = Chain(shape, seed)
    for _ in range(length):
        drawn.step()
    end = drawn.apply("Neg", [drawn.name])[0]
    return made(drawn.nodes, shape, output=end)
