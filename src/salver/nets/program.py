"""The network of a query as the solvers see it: affine maps between a few kinds of nonlinear blocks.

Every linear operator is composed away, so a query is x -> blocks -> affine output. A ReLU and the mask
of the same pre-activation are found by themselves and refer to one pre-activation vector: a solver that
decides the sign of z decides both.

A product needs a factor that is piecewise constant: one that the signs alone decide. With all signs decided
every block is an affine map of x, whatever the products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import scipy

from salver.nets.affine import Affine, Array, Matrix, UnsupportedQueryError, apply, compact, identity

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Named:
    """What a part of a program is in the network.

    Attributes:
        entries: of the tensors that it names those that it consists of [size], all where None.
    """

    entries: Indices | None = None

    def in_network(self, at: Indices) -> Indices:
        """Its entries `at`, as entries of the tensors."""
        return at if self.entries is None else self.entries[at]


@dataclass(frozen=True, eq=False)
class PreActivation(_Named):
    """z, the argument of a ReLU and / or of its mask; `name` is its tensor in the network."""

    affine: Affine
    name: str = ""


@dataclass(frozen=True, eq=False)
class ReluBlock(_Named):
    """max(z, 0) of pre-activation number `pre`; `name` is its first tensor in the network."""

    pre: int
    size: int
    name: str = ""


@dataclass(frozen=True, eq=False)
class MaskBlock(_Named):
    """1[z > 0] of pre-activation number `pre`; `name` as for a ReLU."""

    pre: int
    size: int
    name: str = ""


@dataclass(frozen=True, eq=False)
class GateBlock(_Named):
    """mask * v: the mask of block `mask`, and the gated affine value v.

    `name` and `source` are the tensors of the product and of v in the network.
    """

    mask: int
    value: Affine
    size: int
    name: str = ""
    source: str = ""


@dataclass(frozen=True, eq=False)
class AbsBlock(_Named):
    """|v|; `name` and `source` are its tensor and that of v in the network."""

    value: Affine
    size: int
    name: str = ""
    source: str = ""


@dataclass(frozen=True, eq=False)
class FactorBlock(_Named):
    """v itself, where v is piecewise constant and a factor of products, which refer to it.

    `name` and `source` are both the tensor of v in the network.
    """

    value: Affine
    size: int
    name: str = ""
    source: str = ""


@dataclass(frozen=True, eq=False)
class ProductBlock(_Named):
    """f * v: f is the piecewise constant block `factor`, and v any affine value over the blocks before.

    Attributes:
        square: v is f, so the product is no less than 0.
        name, source: the tensors of the product and of v in the network.
    """

    factor: int
    value: Affine
    size: int
    square: bool = False
    name: str = ""
    source: str = ""


Block = ReluBlock | MaskBlock | GateBlock | AbsBlock | FactorBlock | ProductBlock


def piecewise_constant(pre: Sequence[PreActivation], blocks: Sequence[Block]) -> frozenset[int]:
    """The blocks whose values the signs of the pre-activations and of absolute values alone decide.

    Masks are; all else is where it reads nothing but such blocks.
    """
    found: set[int] = set()
    for number, block in enumerate(blocks):
        match block:
            case MaskBlock():
                decided = True
            case ReluBlock():
                decided = pre[block.pre].affine.terms.keys() <= found
            case _:
                decided = block.value.terms.keys() <= found
        if decided:
            found.add(number)
    return frozenset(found)


@dataclass(frozen=True, eq=False)
class Program:
    """A query's network. Block i may read the input (-1), blocks < i, and pre-activations over those."""

    input_size: int
    pre: tuple[PreActivation, ...]
    blocks: tuple[Block, ...]
    output: Affine

    def argument(self, block: Block) -> Affine:
        """What a block is applied to: z of a ReLU or mask, v of all others."""
        return self.pre[block.pre].affine if isinstance(block, ReluBlock | MaskBlock) else block.value

    @cached_property
    def piecewise_constant(self) -> frozenset[int]:
        """See the function of that name."""
        return piecewise_constant(self.pre, self.blocks)

    @cached_property
    def jumps(self) -> frozenset[int]:
        """The pre-activations at whose 0 a value may jump: those with a mask. A ReLU alone only bends."""
        return frozenset(block.pre for block in self.blocks if isinstance(block, MaskBlock))

    @property
    def has_products(self) -> bool:
        """Whether anything but a mask is multiplied with a value."""
        return any(isinstance(block, ProductBlock) for block in self.blocks)

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
                case FactorBlock():
                    values[number] = block.value.evaluate(values)
                case ProductBlock():
                    values[number] = values[block.factor] * block.value.evaluate(values)
        return self.output.evaluate(values), [zs[i] for i in range(len(self.pre))], values

    def rounding(self, x: Array, unit: float) -> Array:
        """What the outputs may be off at `x` [n], by the sums that they and all before are added up from.

        Args:
            unit: relative error of one sum, of the absolute values that it adds up.
        """
        return unit * self.output.magnitude(self.sums(x, unit))

    def sums(self, x: Array, unit: float) -> dict[int, Array]:
        """Absolute values that each block is added up from at `x` [n], with all before it.

        What a ReLU or a gate lets through counts as large as its own sum, whose terms may have cancelled.

        Args:
            unit: see `rounding`.
        """
        _, pre, values = self.evaluate(x[None])
        sizes = {-1: np.abs(values[-1][0])}
        for number, block in enumerate(self.blocks):
            if isinstance(block, MaskBlock):
                sizes[number] = values[number][0]
                continue
            size = self.argument(block).magnitude(sizes)
            if isinstance(block, ReluBlock):
                size = np.where(pre[block.pre][0] > -unit * size, size, 0.0)
            elif isinstance(block, GateBlock):
                size = size * sizes[block.mask]
            elif isinstance(block, ProductBlock):
                value, of_factor = np.abs(block.value.evaluate(values)[0]), sizes[block.factor]
                factor = np.abs(values[block.factor][0])
                size = factor * size + value * of_factor + unit * of_factor * size
            sizes[number] = size
        return sizes


@dataclass
class ProgramBuilder:
    """A program under construction, to which every operator of a network adds itself (`Operator.lower`).

    Tensors are named as in the network. A tensor is an affine map over the blocks so far, or the sign of
    one: `Sign` is no block of its own, only its mask `Relu(Sign(z))` is.
    """

    pre: list[PreActivation] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    affine: dict[str, Affine] = field(default_factory=dict)
    signs: dict[str, str] = field(default_factory=dict)
    pre_of: dict[str, int] = field(default_factory=dict)
    relu_of: dict[int, int] = field(default_factory=dict)
    mask_of: dict[int, int] = field(default_factory=dict)
    factor_of: dict[str, int] = field(default_factory=dict)
    matrices: dict[object, tuple[Matrix, Array]] = field(default_factory=dict)
    """Matrix and bias by operator and shape of its input: copies of a network share their operators."""

    def program(self, input_size: int, output: str) -> Program:
        """All so far. Raises: UnsupportedQueryError: the output is a Sign."""
        if output not in self.affine:
            raise UnsupportedQueryError("the output is a Sign")
        return Program(input_size, tuple(self.pre), tuple(self.blocks), compact(self.affine[output]))

    def define(self, tensor: str, value: Affine) -> None:
        """Says what a tensor is."""
        self.affine[tensor] = value

    def define_sign(self, tensor: str, source: str) -> None:
        """Says that a tensor is the sign of another. Raises: UnsupportedQueryError: that one is a Sign."""
        self.value(source)
        self.signs[tensor] = source

    def define_renamed(self, tensor: str, source: str) -> None:
        """Says that a tensor has the entries of another; its ReLU is the other's ReLU then."""
        self.define(tensor, self.value(source))
        if source in self.pre_of:
            self.pre_of[tensor] = self.pre_of[source]

    def value(self, tensor: str) -> Affine:
        """What a tensor is. Raises: UnsupportedQueryError: it is a Sign."""
        if tensor in self.signs:
            raise UnsupportedQueryError("a Sign that is not the argument of a Relu")
        return self.affine[tensor]

    def relu(self, source: str, name: str) -> Affine:
        """max(z, 0), or the mask 1[z > 0] where `source` is the sign of z; `name` is for a new block."""
        is_mask = source in self.signs
        tensor = self.signs.get(source, source)
        if tensor not in self.pre_of:
            self.pre_of[tensor] = len(self.pre)
            self.pre.append(PreActivation(compact(self.affine[tensor]), tensor))
        pre, known = self.pre_of[tensor], self.mask_of if is_mask else self.relu_of
        size = self.pre[pre].affine.size
        if pre not in known:
            known[pre] = len(self.blocks)
            self.blocks.append((MaskBlock if is_mask else ReluBlock)(pre, size, name))
        return identity(known[pre], size)

    def absolute(self, source: str, name: str) -> Affine:
        """|v| of a tensor v."""
        value = compact(self.value(source))
        return self._append(AbsBlock(value, value.size, name, source))

    def product(self, left: str, right: str, name: str) -> Affine:
        """A gate where one factor is a mask, else a product where one is piecewise constant.

        Raises:
            UnsupportedQueryError: neither is.
        """
        factors = {left: self.value(left), right: self.value(right)}
        for mask, source in ((left, right), (right, left)):
            number = _plain_mask(factors[mask], self.blocks)
            if number is not None:
                value = compact(factors[source])
                return self._append(GateBlock(number, value, value.size, name, source))
        constant = piecewise_constant(self.pre, self.blocks)
        for factor, source in ((right, left), (left, right)):
            multiplier, value = compact(factors[factor]), compact(factors[source])
            if not multiplier.terms and multiplier.constant_size is None:
                return apply(scipy.sparse.diags_array(multiplier.constant, format="csr"), value, 0.0)
            if multiplier.terms.keys() <= constant:
                number = self._factor(factor, multiplier)
                square = factor == source
                value = identity(number, multiplier.size) if square else value
                return self._append(ProductBlock(number, value, value.size, square, name, source))
        raise UnsupportedQueryError("a product of which neither factor is piecewise constant")

    def _factor(self, tensor: str, value: Affine) -> int:
        if tensor not in self.factor_of:
            self.factor_of[tensor] = len(self.blocks)
            self.blocks.append(FactorBlock(value, value.size, tensor, tensor))
        return self.factor_of[tensor]

    def _append(self, block: GateBlock | AbsBlock | ProductBlock) -> Affine:
        self.blocks.append(block)
        return identity(len(self.blocks) - 1, block.size)


def _plain_mask(affine: Affine, blocks: list[Block]) -> int | None:
    if len(affine.terms) != 1 or affine.constant.any():
        return None
    (number, matrix), *_ = affine.terms.items()
    if number < 0 or not isinstance(blocks[number], MaskBlock) or not scipy.sparse.issparse(matrix):
        return None
    identity = matrix.shape[0] == matrix.shape[1] == matrix.nnz and (matrix.diagonal() == 1).all()
    return number if identity else None
