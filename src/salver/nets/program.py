"""The network of a query as the solvers see it: affine maps between four kinds of nonlinear blocks.

Every linear operator is composed away, so a query is x -> blocks -> affine output. A ReLU and the mask
of the same pre-activation are found by themselves and refer to one pre-activation vector: a solver that
decides the sign of z decides both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from salver.nets import network as nets
from salver.nets.linear_maps import matrix_and_bias

Array = npt.NDArray[np.float64]
Matrix = Any
"""A dense float64 array or a scipy CSR array, [rows, columns]."""


class UnsupportedQueryError(Exception):
    """The query is outside the operators of this solver; its verdict must be `unknown`."""


@dataclass(frozen=True, eq=False)
class Affine:
    """sum over blocks b of terms[b] @ value(b) + constant. Block -1 is the input x."""

    terms: dict[int, Matrix]
    constant: Array

    @property
    def size(self) -> int:
        return len(self.constant)

    def evaluate(self, values: dict[int, Array]) -> Array:
        """Values [batch, size] from block values [batch, block size]."""
        total: Array = np.broadcast_to(self.constant, (len(values[-1]), self.size))
        for block, matrix in self.terms.items():
            total = total + (matrix @ values[block].T).T
        return total


@dataclass(frozen=True, eq=False)
class PreActivation:
    """z, the argument of a ReLU and / or of its mask; `name` is its tensor in the network."""

    affine: Affine
    name: str = ""


@dataclass(frozen=True, eq=False)
class ReluBlock:
    """max(z, 0) of pre-activation number `pre`; `name` is its first tensor in the network."""

    pre: int
    size: int
    name: str = ""


@dataclass(frozen=True, eq=False)
class MaskBlock:
    """1[z > 0] of pre-activation number `pre`; `name` as for a ReLU."""

    pre: int
    size: int
    name: str = ""


@dataclass(frozen=True, eq=False)
class GateBlock:
    """mask * v: the mask of block `mask`, and the gated affine value v.

    `name` and `source` are the tensors of the product and of v in the network.
    """

    mask: int
    value: Affine
    size: int
    name: str = ""
    source: str = ""


@dataclass(frozen=True, eq=False)
class AbsBlock:
    """|v|; `name` and `source` are its tensor and that of v in the network."""

    value: Affine
    size: int
    name: str = ""
    source: str = ""


Block = ReluBlock | MaskBlock | GateBlock | AbsBlock


@dataclass(frozen=True, eq=False)
class Program:
    """A query's network. Block i may read the input (-1), blocks < i, and pre-activations over those."""

    input_size: int
    pre: tuple[PreActivation, ...]
    blocks: tuple[Block, ...]
    output: Affine

    def evaluate(self, x: Array) -> tuple[Array, list[Array], dict[int, Array]]:
        """Outputs, pre-activations and block values at inputs `x` [batch, n], in float64."""
        values: dict[int, Array] = {-1: np.atleast_2d(np.asarray(x, np.float64))}
        zs: dict[int, Array] = {}
        for number, block in enumerate(self.blocks):
            if isinstance(block, ReluBlock | MaskBlock) and block.pre not in zs:
                zs[block.pre] = self.pre[block.pre].affine.evaluate(values)
            match block:
                case ReluBlock():
                    values[number] = np.maximum(zs[block.pre], 0.0)
                case MaskBlock():
                    values[number] = (zs[block.pre] > 0).astype(np.float64)
                case GateBlock():
                    values[number] = values[block.mask] * block.value.evaluate(values)
                case AbsBlock():
                    values[number] = np.abs(block.value.evaluate(values))
        return self.output.evaluate(values), [zs[i] for i in range(len(self.pre))], values


def lower(network: nets.Network) -> Program:
    """Composes the linear operators of a network and pairs masks with their ReLUs.

    Raises:
        UnsupportedQueryError: a Sign outside Relu(Sign(z)), or a product of two non-masks.
    """
    return _Lowering(network).run()


@dataclass
class _Lowering:
    network: nets.Network
    pre: list[PreActivation] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    affine: dict[str, Affine] = field(default_factory=dict)
    pre_of: dict[str, int] = field(default_factory=dict)
    sign_of: dict[str, str] = field(default_factory=dict)
    relu_of: dict[int, int] = field(default_factory=dict)
    mask_of: dict[int, int] = field(default_factory=dict)

    def run(self) -> Program:
        size = self.network.input_size
        self.affine[self.network.input] = Affine({-1: sparse.eye_array(size, format="csr")}, np.zeros(size))
        shapes = self.network.shapes
        for node in self.network.nodes:
            self._node(node, shapes)
        output = self.network.output
        if output not in self.affine:
            raise UnsupportedQueryError("the output is a Sign")
        return Program(size, tuple(self.pre), tuple(self.blocks), _compact(self.affine[output]))

    def _node(self, node: nets.Node, shapes: dict[str, nets.Shape]) -> None:
        operator, source = node.operator, node.inputs[0]
        if isinstance(operator, nets.Sign):
            self.sign_of[node.name] = source
            return
        if isinstance(operator, nets.Relu) and source in self.sign_of:
            number = self._pre(self.sign_of[source])
            self.affine[node.name] = self._shared(self.mask_of, number, MaskBlock, node.name)
            return
        for name in node.inputs:
            if name in self.sign_of:
                raise UnsupportedQueryError("a Sign that is not the argument of a Relu")
        if isinstance(operator, nets.Reshape) and source in self.pre_of:
            self.pre_of[node.name] = self.pre_of[source]
        self.affine[node.name] = self._value(node, shapes)

    def _value(self, node: nets.Node, shapes: dict[str, nets.Shape]) -> Affine:
        operator = node.operator
        first = self.affine[node.inputs[0]]
        shape = shapes[node.inputs[0]]
        match operator:
            case nets.Linear() | nets.Conv() | nets.ConvTranspose():
                matrix, bias = matrix_and_bias(operator, shape)
                return _apply(matrix.astype(np.float64), first, bias)
            case nets.Scale():
                scale = sparse.diags_array(operator.scale.ravel().astype(np.float64), format="csr")
                return _apply(scale, first, operator.shift.ravel())
            case nets.Relu():
                return self._shared(self.relu_of, self._pre(node.inputs[0]), ReluBlock, node.name)
            case nets.Abs():
                return self._append(AbsBlock(_compact(first), first.size, node.name, node.inputs[0]))
            case nets.Add() | nets.Sub():
                return _sum(
                    first, self.affine[node.inputs[1]], 1.0 if isinstance(operator, nets.Add) else -1.0
                )
            case nets.Concat():
                return _concat([self.affine[name] for name in node.inputs])
            case nets.Reshape():
                return first
            case nets.Mul():
                return self._gate(node)
        raise UnsupportedQueryError(f"operator {type(operator).__name__}")

    def _gate(self, node: nets.Node) -> Affine:
        for mask, source in (node.inputs, node.inputs[::-1]):
            number, value = _plain_mask(self.affine[mask], self.blocks), self.affine[source]
            if number is not None:
                return self._append(GateBlock(number, _compact(value), value.size, node.name, source))
        raise UnsupportedQueryError("a product of which neither factor is a mask Relu(Sign(z))")

    def _pre(self, tensor: str) -> int:
        if tensor not in self.pre_of:
            self.pre_of[tensor] = len(self.pre)
            self.pre.append(PreActivation(_compact(self.affine[tensor]), tensor))
        return self.pre_of[tensor]

    def _shared(
        self, known: dict[int, int], pre: int, kind: type[ReluBlock] | type[MaskBlock], name: str
    ) -> Affine:
        size = self.pre[pre].affine.size
        if pre not in known:
            known[pre] = len(self.blocks)
            self.blocks.append(kind(pre, size, name))
        return _identity(known[pre], size)

    def _append(self, block: GateBlock | AbsBlock) -> Affine:
        self.blocks.append(block)
        return _identity(len(self.blocks) - 1, block.size)


def _identity(block: int, size: int) -> Affine:
    return Affine({block: sparse.eye_array(size, format="csr")}, np.zeros(size))


def _plain_mask(affine: Affine, blocks: list[Block]) -> int | None:
    if len(affine.terms) != 1 or affine.constant.any():
        return None
    (number, matrix), *_ = affine.terms.items()
    if number < 0 or not isinstance(blocks[number], MaskBlock) or not sparse.issparse(matrix):
        return None
    identity = matrix.shape[0] == matrix.shape[1] == matrix.nnz and (matrix.diagonal() == 1).all()
    return number if identity else None


def _apply(matrix: Matrix, source: Affine, bias: Any) -> Affine:
    terms = {block: _dense_if_full(matrix @ term) for block, term in source.terms.items()}
    return Affine(terms, np.asarray(matrix @ source.constant + bias, np.float64).ravel())


def _sum(left: Affine, right: Affine, sign: float) -> Affine:
    terms = dict(left.terms)
    for block, term in right.terms.items():
        terms[block] = _dense_if_full(terms[block] + sign * term) if block in terms else sign * term
    return Affine(terms, left.constant + sign * right.constant)


def _concat(parts: list[Affine]) -> Affine:
    blocks = sorted({block for part in parts for block in part.terms})
    terms = {}
    for block in blocks:
        columns = next(part.terms[block].shape[1] for part in parts if block in part.terms)
        rows = [part.terms.get(block, sparse.csr_array((part.size, columns))) for part in parts]
        terms[block] = _dense_if_full(sparse.vstack([sparse.csr_array(row) for row in rows], format="csr"))
    return Affine(terms, np.concatenate([part.constant for part in parts]))


def _dense_if_full(matrix: Matrix) -> Matrix:
    """Dense above one entry in five: BLAS is faster there, and a scipy product returns either."""
    if not sparse.issparse(matrix):
        return np.asarray(matrix)
    if matrix.nnz > 0.2 * matrix.shape[0] * matrix.shape[1]:
        return matrix.toarray()
    return sparse.csr_array(matrix)


def _compact(affine: Affine) -> Affine:
    """Without the terms that are zero."""
    terms = {b: m for b, m in affine.terms.items() if (m.nnz if sparse.issparse(m) else np.any(m))}
    return Affine(terms, affine.constant)
