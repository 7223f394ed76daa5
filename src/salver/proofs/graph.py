"""A network as the checker sees it: exact affine maps between switches, read from the file's own nodes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from scipy import sparse

from salver.proofs.exact import Matrix
from salver.proofs.node import LinearMap, Meaning, Pointwise, Product, SameEntries
from salver.proofs.onnx_file import NetworkFile, Shape, UnsupportedNetworkError
from salver.proofs.operators import meaning

STEP = "step:"
"""Prefix of the variable 1[z > 0] that belongs to a tensor z which some ReLU, mask or Abs reads."""


@dataclass(frozen=True, eq=False)
class Affine:
    """sum of matrix @ tensor over the terms, plus the bias (a matrix of one column)."""

    terms: tuple[tuple[str, Matrix], ...]
    bias: Matrix


@dataclass(frozen=True, eq=False)
class Relu:
    """max(z, 0)."""

    source: str


@dataclass(frozen=True, eq=False)
class Gate:
    """1[z > 0] * value, z being the tensor `switch`."""

    switch: str
    value: str


@dataclass(frozen=True, eq=False)
class Abs:
    """|z|."""

    source: str


@dataclass(frozen=True, eq=False)
class Times:
    """left * right, two tensors of one size; a square where both are the same."""

    left: str
    right: str


Form = Affine | Relu | Gate | Abs | Times


@dataclass(eq=False)
class Graph:
    """Every tensor of a network by name, in the file's order.

    Attributes:
        sizes: entries per tensor, the input and the steps included.
        forms: what makes each tensor but the input and the steps.
        switches: tensors that have a step.
    """

    network: NetworkFile
    sizes: dict[str, int] = field(default_factory=dict)
    forms: dict[str, Form] = field(default_factory=dict)
    switches: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        network, first = self.network, self.network.input
        self._meanings: dict[str, Meaning] = {}
        self._first: dict[tuple[type, str], str] = {}
        shapes: dict[str, Shape] = {first: network.input_shape}
        # A tensor of such a name would share its ranges with the step of another tensor.
        if any(name.startswith(STEP) for name in (first, *(node.output for node in network.nodes))):
            raise UnsupportedNetworkError(f"a tensor's name begins with {STEP!r}")
        self.sizes[first] = network.input_size
        for node in network.nodes:
            name, found = node.output, meaning(network, node, shapes)
            shapes[name], self._meanings[name] = found.shape, found
            if not _is(found, "Sign"):
                self.sizes[name] = math.prod(found.shape)
                self.forms[name] = self._form(name, found)
        if network.output not in self.sizes:
            raise UnsupportedNetworkError("the output is constant, a Sign, or made by no node")
        self._check_output(shapes[network.output])

    def _check_output(self, shape: Shape) -> None:
        declared = self.network.output_shape
        if declared is not None and (
            len(declared) != len(shape)
            or any(size is not None and size != own for size, own in zip(declared, shape, strict=True))
        ):
            raise UnsupportedNetworkError(f"the output is declared as {list(declared)} and has {list(shape)}")

    @property
    def output_size(self) -> int:
        """Entries of the output."""
        return self.sizes[self.network.output]

    def root(self, name: str) -> str:
        """The tensor behind reshapes."""
        while isinstance(found := self._meanings.get(name), SameEntries):
            name = found.source
        return name

    def _switch(self, name: str) -> str:
        root = self.root(name)
        if root not in self.sizes:
            raise UnsupportedNetworkError("a ReLU, Sign or Abs reads a Sign")
        if root not in self.switches:
            self.switches.append(root)
            self.sizes[STEP + root] = self.sizes[root]
        return root

    def _masked(self, name: str) -> str | None:
        """The switch of which a tensor is the mask Relu(Sign(z)), if it is one."""
        mask = self._meanings.get(self.root(name))
        if not isinstance(mask, Pointwise) or mask.kind != "Relu":
            return None
        sign = self._meanings.get(self.root(mask.source))
        if isinstance(sign, Pointwise) and sign.kind == "Sign":
            return self._switch(sign.source)
        return None

    def _form(self, name: str, found: Meaning) -> Form:
        match found:
            case Pointwise(kind, source, _):
                switch = self._masked(name)
                if switch is not None:
                    return self._copy(STEP + switch)
                made = Relu(self._switch(source)) if kind == "Relu" else Abs(self._switch(source))
                return self._once(made, name)
            case Product(left, right, _):
                self._refuse_signs(left, right)
                for mask, value in ((left, right), (right, left)):
                    switch = self._masked(mask)
                    if switch is not None:
                        return Gate(switch, self.root(value))
                return Times(self.root(left), self.root(right))
            case SameEntries(source, _):
                self._refuse_signs(source)
                return self._copy(source)
        self._refuse_signs(*(source for source, _, _ in found.terms))
        return _affine(name, found)

    def _refuse_signs(self, *names: str) -> None:
        if any(self.root(name) not in self.sizes for name in names):
            raise UnsupportedNetworkError("a Sign that is not the argument of a ReLU")

    def _once(self, form: Relu | Abs, name: str) -> Form:
        """The form, or a copy of the tensor that already has it."""
        first = self._first.setdefault((type(form), form.source), name)
        return form if first == name else self._copy(first)

    def _copy(self, source: str) -> Affine:
        size = self.sizes[source]
        return Affine(((source, Matrix(sparse.eye_array(size))),), Matrix(np.zeros((size, 1))))


def _is(found: Meaning, kind: str) -> bool:
    return isinstance(found, Pointwise) and found.kind == kind


def _affine(name: str, found: LinearMap) -> Affine:
    size = math.prod(found.shape)
    bias = np.zeros(size) if found.bias is None else np.asarray(found.bias, np.float64)
    try:
        terms = tuple((source, Matrix(matrix, divisor)) for source, matrix, divisor in found.terms)
        return Affine(terms, Matrix(bias.reshape(-1, 1)))
    except ValueError as error:
        raise UnsupportedNetworkError(f"{name!r:.60}: {error}") from None
