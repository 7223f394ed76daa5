"""Values of a query's tensors and terms at a point, from the files themselves.

ONNX Runtime gives the tensors; terms are rounded once, and comparisons are exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import numpy.typing as npt
import onnx

from salver.nets.runtime import Runtime
from salver.spec.terms import Monomial, Tensor, TermAtom, TermClause, Variable

Array = npt.NDArray[np.float64]
Terms = tuple[tuple[Monomial, Fraction], ...]


@dataclass(frozen=True, eq=False)
class QueryNetwork:
    """One network of the query: its file, and the tensors that are its outputs, in the order declared."""

    model: onnx.ModelProto
    names: tuple[str, ...]
    inputs: int

    @cached_property
    def runtime(self) -> Runtime:
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        known = {value.name for value in model.graph.output}
        for name in self.names:
            if name not in known:
                model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
                known.add(name)
        return Runtime(model.SerializeToString(), self.names)


@dataclass(frozen=True, eq=False)
class LiftedReplay:
    """Values of a query's tensors and terms at a point, from the files themselves.

    Attributes:
        places: per tensor, its first entry among all inputs or all outputs.
        cut: inputs that the query leaves without a bound; the box searched holds a part of their range.
        strict: the query's clauses where some comparison is strict; solvers are given the closed ones.
    """

    parts: tuple[QueryNetwork, ...]
    tensors: tuple[Tensor, ...]
    places: tuple[int, ...]
    rows: tuple[Terms, ...]
    cut: tuple[int, ...] = ()
    strict: tuple[TermClause, ...] = ()

    def holds(self, x: Array, y: Array) -> bool:
        """Whether the strict comparisons hold too at inputs `x` with outputs `y`, in exact arithmetic."""
        if not self.strict:
            return True
        return bool(np.isfinite(y).all()) and all(
            any(all(self._atom_holds(atom, x, y) for atom in part) for part in clause)
            for clause in self.strict
        )

    def _atom_holds(self, atom: TermAtom, x: Array, y: Array) -> bool:
        total = -atom.constant
        for monomial, factor in atom.terms:
            total += factor * math.prod(Fraction(float(self._side(t, x, y)[place])) for t, place in monomial)
        if total == 0:
            return not atom.strict
        return (total > 0) == (atom.relation == ">=")

    def outputs(self, x: Array) -> Array:
        """All outputs and inner tensors, network by network, then the terms, at inputs `x` [n]."""
        values, first = [], 0
        for part in self.parts:
            values.append(part.runtime.outputs(x[first : first + part.inputs]))
            first += part.inputs
        y = np.concatenate(values)
        return np.concatenate([y, [self._term(row, x, y) for row in self.rows]])

    def _term(self, row: Terms, x: Array, y: Array) -> float:
        """The value of a term, rounded once."""

        def value(variable: Variable) -> float:
            return float(self._side(variable[0], x, y)[variable[1]])

        if all(len(monomial) == 1 for monomial, _ in row):
            return math.fsum(float(factor) * value(monomial[0]) for monomial, factor in row)
        return float(
            sum(factor * math.prod(Fraction(value(v)) for v in monomial) for monomial, factor in row)
        )

    def assignment(self, x: Array) -> list[tuple[str, str, Array]]:
        """Name, declaration and values of every tensor in the order declared."""
        y = self.outputs(x)
        return [
            (tensor.name, tensor.head, self._side(number, x, y)[: tensor.size])
            for number, tensor in enumerate(self.tensors)
        ]

    def _side(self, tensor: int, x: Array, y: Array) -> Array:
        return (x if self.tensors[tensor].role == "input" else y)[self.places[tensor] :]
