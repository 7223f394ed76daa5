"""What an operator of a network is asked: one class an operator, and every stage dispatches to its methods.

A stage that needs more than the operator's own numbers hands in a builder: `ProgramBuilder` for solvers,
`GradientBuilder` for unrolled gradients, `OnnxWriter` for files. The oracle and the proof checker keep their
own reading of each operator, so that a mistake here cannot hide itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError
from salver.nets.program import ProgramBuilder

Array = npt.NDArray[np.float32] | npt.NDArray[np.float64]
Values = npt.NDArray[Any]
"""A flat batch [batch, size] in the precision in which a network is evaluated."""
Range = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
"""Lower and upper bounds [size] of the entries of a flat tensor."""
Shape = tuple[int, ...]
Adjoint = npt.NDArray[np.float64] | str
"""Derivative with respect to a tensor: flat and constant, or the name of the tensor that holds it."""
RELATIVE, ABSOLUTE = 1e-9, 1e-300
"""Room for rounding in a range, relative to the absolute values that are added up; and room for underflow."""


class OnnxWriter(Protocol):
    """An ONNX graph under construction."""

    def constant(self, value: npt.NDArray[Any]) -> str:
        """Name of an initializer with this content."""

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> None:
        """Appends an ONNX operator."""


class GradientBuilder(Protocol):
    """The graph of a gradient under construction, walked from the outputs to the inputs.

    Attributes:
        steps: tensors that depend on the input by signs alone, whose derivative is 0 where there is one.
    """

    shapes: dict[str, Shape]
    steps: set[str]

    def accumulate(self, tensor: str, adjoint: Adjoint) -> None:
        """Adds to the derivative with respect to a tensor."""

    def emit(self, operator: Operator, inputs: tuple[str, ...], shape: Shape) -> str:
        """Appends a node and names its tensor."""

    def gated(self, pre_activation: str, adjoint: Adjoint) -> Adjoint:
        """The derivative where the pre-activation is positive, 0 elsewhere."""

    def through_relu(self, node: Node, adjoint: Adjoint) -> Adjoint:
        """What a ReLU passes back: its derivative, or what a method has in its place."""

    def times(self, factor: str, adjoint: Adjoint) -> Adjoint:
        """The derivative times the entries of a tensor."""

    def scaled(self, factor: float, adjoint: Adjoint) -> Adjoint:
        """The derivative times a number."""


@dataclass(frozen=True, eq=False)
class Node:
    """One operator: its name is the name of its output tensor."""

    name: str
    operator: Operator
    inputs: tuple[str, ...]
    shape: Shape

    def with_operator(self, operator: Operator) -> Node:
        """The node with another operator of the same shape."""
        return self if operator is self.operator else replace(self, operator=operator)


@dataclass(frozen=True, eq=False)
class Operator(ABC):
    """A frozen dataclass whose arrays are weights; shapes are per sample, without a batch axis.

    Attributes:
        onnx: ONNX operator of this name and meaning, whose other inputs are constants; None if there is none,
            or if reading it takes a rule of its own (`nets.onnx`).
        torch: name of the layer in `torch.nn` with this meaning, None as above.
        kinked: whether its value or its derivative jumps at 0.
    """

    onnx: ClassVar[str | None] = None
    torch: ClassVar[str | None] = None
    kinked: ClassVar[bool] = False

    @abstractmethod
    def evaluate(self, values: Sequence[Values], source: Shape) -> Values:
        """Flat output [batch, size] at flat inputs, the first of which has shape `source`."""

    @abstractmethod
    def range(self, given: Sequence[Range], source: Shape) -> Range:
        """Sound bounds of the output, where the inputs lie in the ranges `given`, rounding included."""

    @abstractmethod
    def lower(self, program: ProgramBuilder, node: Node, source: Shape) -> None:
        """Says what the node's tensor is in a solver's program.

        Raises:
            UnsupportedQueryError: it is nothing that blocks of a program express.
        """

    @abstractmethod
    def in_torch(self, values: Sequence[Any], weights: Mapping[str, Any], shape: Shape) -> Any:
        """Output [batch, *shape] of inputs [batch, ...] in torch, whose own derivative is the reference.

        Args:
            weights: the operator's arrays as tensors, by field.
        """

    def output_shape(self, source: Shape) -> Shape:
        """Shape of the output for a first input of shape `source`, where that decides it."""
        return source

    def backward(self, gradient: GradientBuilder, node: Node, adjoint: Adjoint) -> None:
        """Passes the derivative with respect to the node's tensor on to its inputs.

        This is how a linear operator does it; one that is not linear has a method of its own.
        """
        source = gradient.shapes[node.inputs[0]]
        if isinstance(adjoint, str):
            back: Adjoint = gradient.emit(self.transposed(source, node.shape), (adjoint,), source)
        else:
            back = self.pulled(adjoint.ravel(), source)
        gradient.accumulate(node.inputs[0], back)

    def transposed(self, source: Shape, target: Shape) -> Operator:
        """Of a linear operator the transposed one, from `target` back to `source`.

        Raises:
            SalverError: the operator has no unrolled gradient.
        """
        raise self.no_gradient()

    def pulled(self, adjoint: npt.NDArray[np.float64], source: Shape) -> npt.NDArray[np.float64]:
        """A constant vector [outputs] times the matrix of a linear operator, in float64 [inputs].

        Raises:
            SalverError: the operator has no unrolled gradient.
        """
        raise self.no_gradient()

    def no_gradient(self) -> SalverError:
        """The error that says so."""
        what = f"operator {type(self).__name__} has no unrolled gradient"
        return SalverError(what, "network", "unroll needs a feed-forward ReLU classifier")

    def write(self, graph: OnnxWriter, inputs: Sequence[str], output: str, shape: Shape) -> None:
        """Appends the operator to an ONNX graph; without a method of its own as the ONNX operator `onnx`."""
        assert self.onnx is not None, "`operator` refuses a class that has neither"
        graph.node(self.onnx, inputs, output)

    @classmethod
    def from_onnx(cls, attributes: Mapping[str, Any], constants: Sequence[Array], source: Shape) -> Self:
        """The operator of an ONNX node of kind `onnx`.

        Args:
            constants: its inputs but the first, which has shape `source`.

        Raises:
            ValueError: these attributes or constants are not supported; says which in one clause.
        """
        if attributes or constants:
            raise ValueError("with options")
        return cls()

    @classmethod
    def from_torch(cls, layer: Any) -> Self:
        """The operator of a layer of the class `torch`."""
        return cls()

    def magnitude(self) -> Operator:
        """An operator that bounds absolute values: of it at |x| no entry is less than |this at x|."""
        return self.with_arrays(np.abs)

    def followed_by(self, scale: Array, shift: Array, shape: Shape) -> Operator | None:
        """One operator for scale * self(x) + shift, both of `shape`; None where there is none."""
        return None

    def plain(self, source: Shape) -> Operator:
        """The same operator in the form that most verifiers read."""
        return self

    def parts(self) -> dict[str, Any]:
        """Weights and options by field."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    def arrays(self) -> dict[str, Array]:
        """The weights by field."""
        return {name: value for name, value in self.parts().items() if isinstance(value, np.ndarray)}

    def with_arrays(self, change: Callable[[Array], Array]) -> Self:
        """The operator with every weight changed by a function of it."""
        parts = ((name, value, change(value)) for name, value in self.arrays().items())
        changed = {name: new for name, old, new in parts if new is not old}
        return self.changed(**changed) if changed else self

    def changed(self, **parts: Any) -> Self:
        """The operator with other weights or options."""
        return replace(self, **parts)


OPERATORS: dict[str, type[Operator]] = {}
"""Every class of operators by its name."""
Class = TypeVar("Class", bound=type[Operator])


def operator(kind: Class) -> Class:
    """Registers a class of operators: whatever goes through all operators knows it from then on.

    Raises:
        TypeError: it does not say how it is written, or it is a kind of another operator, for which the
            oracle's own tables would take it.
    """
    if kind.onnx is None and kind.write is Operator.write:
        raise TypeError(f"{kind.__name__} has neither `onnx` nor `write`: say how it is written")
    for other in OPERATORS.values():
        if issubclass(kind, other):
            raise TypeError(f"{kind.__name__} is a {other.__name__}: derive it from Operator")
    OPERATORS[kind.__name__] = kind
    return kind


def held(weights: npt.ArrayLike) -> Array:
    """The weights in float32 where that is exact, else in float64."""
    exact = np.asarray(weights)
    if exact.dtype == np.float32:
        return exact
    exact = exact.astype(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        nearest = exact.astype(np.float32)
    return nearest if np.array_equal(nearest.astype(np.float64), exact) else exact


def largest(low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Largest absolute values of a range."""
    return np.asarray(np.maximum(np.abs(low), np.abs(high)))


def with_room(low: Values, high: Values, size: Values) -> Range:
    """A range moved outwards for rounding; `size` holds the sums of absolute values of what was added up."""
    room = RELATIVE * size + ABSOLUTE
    return np.asarray(low - room), np.asarray(high + room)
