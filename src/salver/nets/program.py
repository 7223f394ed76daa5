"""The network of a query as the solvers see it: affine maps between four kinds of nonlinear blocks.

Every linear operator is composed away, so a query is x -> blocks -> affine output. A ReLU and the mask
of the same pre-activation are found by themselves and refer to one pre-activation vector: a solver that
decides the sign of z decides both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from salver.nets import network as nets
from salver.nets.fold import LARGEST, SMALLEST
from salver.nets.linear_maps import matrix_and_bias

Array = npt.NDArray[np.float64]
Matrix = Any
"""A dense float64 array or a scipy CSR array, [rows, columns]."""


ROUNDING = 1e-10
"""Relative error of one sum of products in float64 of up to 400,000 terms, with room to spare: n terms err by
at most n * 1.1e-16 of the sum of their absolute values (Higham, "Accuracy and Stability of Numerical
Algorithms", 2002, eq. 3.5). Also what the decimals of a property may differ from the numbers they are read
as."""


class UnsupportedQueryError(Exception):
    """The query is outside the operators of this solver; its verdict must be `unknown`."""


@dataclass(frozen=True, eq=False)
class Affine:
    """sum over blocks b of terms[b] @ value(b) + constant. Block -1 is the input x.

    Attributes:
        sizes: where composing rounded, block -> matrix of the sums of absolute values that each entry of
            `terms` was added up from; an entry differs from the exact one by less than `ROUNDING` of it.
        constant_size: the same of `constant`; None for its absolute value.
    """

    terms: dict[int, Matrix]
    constant: Array
    sizes: dict[int, Matrix] = field(default_factory=dict)
    constant_size: Array | None = None

    @property
    def size(self) -> int:
        return len(self.constant)

    @cached_property
    def absolute(self) -> dict[int, Matrix]:
        """Block -> entrywise bound on what the entries of `terms` were added up from."""
        return {block: self.sizes.get(block, abs(matrix)) for block, matrix in self.terms.items()}

    def magnitude(self, largest: Mapping[int, Array]) -> Array:
        """Sums of absolute values [size] of all that the rows add up, where |block b| <= largest[b]."""
        total = np.abs(self.constant) if self.constant_size is None else self.constant_size
        for block, matrix in self.absolute.items():
            total = total + matrix @ largest[block]
        return np.asarray(total)

    def rows(self, rows: npt.NDArray[np.intp], sign: float = 1.0) -> Affine:
        """Chosen rows, times 1 or -1."""
        pick = {b: sign * _picked(matrix, rows) for b, matrix in self.terms.items()}
        sizes = {b: _picked(matrix, rows) for b, matrix in self.sizes.items()}
        constant_size = None if self.constant_size is None else self.constant_size[rows]
        return Affine(pick, sign * self.constant[rows], sizes, constant_size)

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
        if isinstance(operator, nets.Sign) and source not in self.sign_of:
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
                return apply(matrix.astype(np.float64), first, bias)
            case nets.Scale():
                scale = sparse.diags_array(operator.scale.ravel().astype(np.float64), format="csr")
                return apply(scale, first, operator.shift.ravel())
            case nets.Relu():
                return self._shared(self.relu_of, self._pre(node.inputs[0]), ReluBlock, node.name)
            case nets.Abs():
                return self._append(AbsBlock(_compact(first), first.size, node.name, node.inputs[0]))
            case nets.Add() | nets.Sub():
                return add(
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


def apply(matrix: Matrix, source: Affine, bias: Any) -> Affine:
    """matrix @ source + bias; says how large the sums were where they were rounded.

    Raises:
        UnsupportedQueryError: a product may leave the numbers that float64 holds with all their digits.
    """
    _refuse_range(matrix, [*source.terms.values(), source.constant])
    selects = _selects(matrix)
    terms = {block: _dense_if_full(matrix @ term) for block, term in source.terms.items()}
    sizes = {
        block: _dense_if_full(abs(matrix) @ source.absolute[block])
        for block, term in source.terms.items()
        if block in source.sizes or not (selects or _selects(term))
    }
    moved, shift = np.asarray(matrix @ source.constant, np.float64).ravel(), np.asarray(bias, np.float64)
    constant = np.asarray(moved + shift, np.float64).ravel()
    exact = source.constant_size is None and (selects or not source.constant.any())
    if exact and not np.any(_lost(moved, shift, constant)):
        return Affine(terms, constant, sizes)
    known = np.abs(source.constant) if source.constant_size is None else source.constant_size
    return Affine(terms, constant, sizes, np.asarray(abs(matrix) @ known + np.abs(shift), np.float64).ravel())


def _refuse_range(matrix: Matrix, factors: list[Any]) -> None:
    least, most = _extent(matrix)
    for factor in factors:
        low, high = _extent(factor)
        if least * low < SMALLEST or most * high > LARGEST:
            raise UnsupportedQueryError("weights whose products leave the range of double precision")


def _extent(matrix: Any) -> tuple[float, float]:
    """Least and largest absolute value of the entries that are not 0; ones where there are none."""
    size = np.abs(matrix.data if sparse.issparse(matrix) else np.asarray(matrix))
    high = float(size.max(initial=0.0))
    if high == 0.0:
        return 1.0, 1.0
    return float(size.min(where=size > 0.0, initial=high)), high


def _selects(matrix: Matrix) -> bool:
    """Whether every row has one entry at most, and that a power of two: products with it are exact."""
    if not sparse.issparse(matrix):
        return False
    rows = sparse.csr_array(matrix)
    powers = np.abs(np.frexp(rows.data)[0]) == 0.5
    return bool((np.diff(rows.indptr) <= 1).all() and (powers | (rows.data == 0.0)).all())


def _lost(left: Any, right: Any, total: Any) -> Any:
    """What a sum of two lost to rounding, entry by entry (Knuth's TwoSum)."""
    part = total - left
    return (left - (total - part)) + (right - part)


def add(left: Affine, right: Affine, sign: float) -> Affine:
    """left + sign * right, for a sign of 1 or -1; says how large the sums were where they were rounded."""
    terms, sizes = dict(left.terms), dict(left.sizes)
    for block, matrix in right.terms.items():
        term = sign * matrix
        if block not in terms:
            terms[block] = term
            sizes.update({block: right.sizes[block]} if block in right.sizes else {})
            continue
        terms[block] = _dense_if_full(left.terms[block] + term)
        rounded = block in left.sizes or block in right.sizes
        if rounded or _any(_lost(left.terms[block], term, terms[block])):
            sizes[block] = _dense_if_full(left.absolute[block] + right.absolute[block])
    shift = sign * right.constant
    constant = left.constant + shift
    known = [np.abs(p.constant) if p.constant_size is None else p.constant_size for p in (left, right)]
    rounded = left.constant_size is not None or right.constant_size is not None
    if rounded or np.any(_lost(left.constant, shift, constant)):
        return Affine(terms, constant, sizes, known[0] + known[1])
    return Affine(terms, constant, sizes)


def _concat(parts: list[Affine]) -> Affine:
    blocks = sorted({block for part in parts for block in part.terms})
    columns = {b: part.terms[b].shape[1] for part in parts for b in part.terms}
    rounded = {block for part in parts for block in part.sizes}
    terms = {b: _stacked([part.terms.get(b) for part in parts], parts, columns[b]) for b in blocks}
    sizes = {
        b: _stacked([part.absolute.get(b) for part in parts], parts, columns[b]) for b in sorted(rounded)
    }
    constant_size = None
    if any(part.constant_size is not None for part in parts):
        constant_size = np.concatenate(
            [np.abs(p.constant) if p.constant_size is None else p.constant_size for p in parts]
        )
    return Affine(terms, np.concatenate([part.constant for part in parts]), sizes, constant_size)


def _stacked(matrices: list[Matrix], parts: list[Affine], columns: int) -> Matrix:
    """The matrices of the parts above each other, None being zeros."""
    rows = [
        sparse.csr_array((part.size, columns)) if matrix is None else sparse.csr_array(matrix)
        for matrix, part in zip(matrices, parts, strict=True)
    ]
    return _dense_if_full(sparse.vstack(rows, format="csr"))


def dense(matrix: Matrix) -> Array:
    """A matrix of a program as a dense float64 array [rows, columns]."""
    return np.asarray(matrix.toarray() if sparse.issparse(matrix) else matrix, np.float64)


def _picked(matrix: Matrix, rows: npt.NDArray[np.intp]) -> Matrix:
    return sparse.csr_array(matrix)[rows] if sparse.issparse(matrix) else matrix[rows]


def _dense_if_full(matrix: Matrix) -> Matrix:
    """Dense above one entry in five: BLAS is faster there, and a scipy product returns either."""
    if not sparse.issparse(matrix):
        return np.asarray(matrix)
    if matrix.nnz > 0.2 * matrix.shape[0] * matrix.shape[1]:
        return matrix.toarray()
    return sparse.csr_array(matrix)


def _compact(affine: Affine) -> Affine:
    """Without the terms that are zero, and were added up from zeros."""
    terms = {
        b: m for b, m in affine.terms.items() if _any(m) or (b in affine.sizes and _any(affine.sizes[b]))
    }
    sizes = {b: m for b, m in affine.sizes.items() if b in terms}
    return Affine(terms, affine.constant, sizes, affine.constant_size)


def _any(matrix: Matrix) -> bool:
    return bool(matrix.count_nonzero() if sparse.issparse(matrix) else np.any(matrix))
