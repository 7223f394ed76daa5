"""The checker's sums of rows in floats, less what they may be off, and which ends of ranges they rest on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from salver.proofs.context import Context
from salver.proofs.exact import Matrix
from salver.proofs.graph import STEP, Abs, Affine, Form, Gate, Relu, Times
from salver.proofs.row_sum import Atoms, Coefficient, RowSum
from salver.spec.ball import Ball

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
End = tuple[str, int]
"""A tensor and an end of its range: 0 for the lower, 1 for the upper one."""

ROUNDING = 1e-11
"""What a sum in floats may be off, as a share of all that it adds up."""
NEGLIGIBLE = 1e-13
"""An end that matters by this share of a sum is not one that the sum rests on."""
LOW, HIGH, BOTH = (0,), (1,), (0, 1)
ENDS_OF: dict[str, tuple[int, ...]] = {
    "step_on": HIGH, "step_off": LOW,
    "relu_z": (), "relu_on": HIGH, "relu_off": LOW,
    "gate_low": LOW, "gate_high": HIGH, "gate_on": HIGH, "gate_off": LOW,
    "abs_pos": (), "abs_neg": (), "abs_on": LOW, "abs_off": HIGH,
}  # fmt: skip
"""Which ends of the range of what is masked a row rests on; rows of products rest on all of both factors."""


@dataclass(frozen=True, eq=False)
class RoughQuery:
    """What the checker's graph and property are in floats.

    Attributes:
        root: the whole box.
        affine: of each affine tensor its bias, and each source with its matrix as `_map` gives it.
        limits: the constants of all atoms.
    """

    root: Context
    ball: Ball | None
    affine: dict[str, tuple[Array, list[tuple[str, Any]]]]
    limits: Array

    @staticmethod
    def of(root: Context, atoms: Atoms, ball: Ball | None) -> RoughQuery:
        """That of a query whose whole box is `root`, in floats."""
        affine = {
            name: (form.bias.floats @ np.ones(1), [(source, _map(matrix)) for source, matrix in form.terms])
            for name, form in root.graph.forms.items()
            if isinstance(form, Affine)
        }
        return RoughQuery(root, ball, affine, np.array([float(limit) for limit in atoms.constants]))


def _map(matrix: Matrix) -> Any:
    """A matrix in floats, transposed where it is sparse; None for the identity."""
    floats, (rows, columns) = matrix.floats, matrix.shape
    if not sparse.issparse(floats):
        return floats
    same = rows == columns == floats.nnz and (floats.diagonal() == 1.0).all()
    return None if same else sparse.csr_array(floats.T)


def _through(coefficients: Array, matrix: Any) -> Array:
    """Coefficients [count, size] of a tensor as those of a source, with the matrix that `_map` gives."""
    if matrix is None:
        return coefficients
    return np.asarray((matrix @ coefficients.T).T if sparse.issparse(matrix) else coefficients @ matrix)


@dataclass(eq=False)
class RoughSum(RowSum):
    """As `RowSum`, in floats.

    Attributes:
        used: where wanted, the ends that the sums rest on, as flags [entries] of each.
        terms: coefficients [count, size] of tensors.
    """

    query: RoughQuery = field(kw_only=True)
    used: dict[End, Flags] | None = None

    def __post_init__(self) -> None:
        self.constant = np.zeros(self.count)
        self.size = np.zeros(self.count)
        self.grain = 2.0**-self.context.unit.places

    def subtract_rows(self, by: Any) -> None:
        for kind, name, lemmas, entries, multipliers in by:
            where, weights = np.asarray(lemmas, np.intp), np.asarray(multipliers, np.float64)
            if kind == "atom":
                self._atoms(where, weights, entries)
                continue
            at = np.asarray(entries, np.intp)
            if self.used is not None:
                self._mark_row(kind, name, at)
            terms, constant = self.row_of(kind, name, at)
            for tensor, coefficient in terms:
                self.add(tensor, where, at, -weights * coefficient)
                if not isinstance(coefficient, int):
                    self._lose(where, np.minimum(self.context.low[tensor][at], 0.0))
            if constant is not None:
                self.constant += np.bincount(where, -weights * constant, self.count)

    def _part(self, first: int, end: int) -> RoughSum:
        part = RoughSum(self.graph, self.atoms, self.context, end - first, query=self.query, used=self.used)
        part.added = super()._part(first, end).added
        part.constant, part.size = self.constant[first:end], self.size[first:end]
        return part

    def _least(self, assumed: dict[int, tuple[str, int, int]]) -> Array:
        for name, form in reversed(self.graph.forms.items()):
            if name in self.terms or name in self.added:
                self._substitute(name, form, self._taken(name))
        for lemma, (switch, entry, side) in assumed.items():
            coefficients = self.terms[STEP + switch] = self._taken(STEP + switch)
            self.constant[lemma] += coefficients[lemma, entry] * side
            coefficients[lemma, entry] = 0.0
        for name in [*self.terms, *(name for name in self.added if name not in self.terms)]:
            self._absorb(name, self._taken(name))
        found: Array = self.constant
        return found - ROUNDING * (self.size + np.abs(found)) - self.grain

    def _taken(self, name: str) -> Array:
        size, parts = self.graph.sizes[name], self.added.pop(name, [])
        found: Array | None = self.terms.pop(name, None)
        if not parts:
            return np.zeros((self.count, size)) if found is None else found
        lemmas, entries, values = (np.concatenate(part) for part in zip(*parts, strict=True))
        total = np.asarray(np.bincount(lemmas * size + entries, values, self.count * size), np.float64)
        total = total.reshape(self.count, size)
        return total if found is None else found + total

    def _substitute(self, name: str, form: Form, coefficients: Array) -> None:
        context = self.context
        if not coefficients.any():
            return
        match form:
            case Affine():
                bias, terms = self.query.affine[name]
                self.constant = self.constant + coefficients @ bias
                for source, matrix in terms:
                    self._pass_on(source, _through(coefficients, matrix))
                    self.constant = self.constant - self.grain * np.maximum(-context.low[source], 0.0).sum()
                return
            case Times():
                self._absorb(name, coefficients)
                return
            case Relu(source):
                switch = STEP + source
            case Gate(step, source):
                switch = STEP + step
            case Abs(source):
                switch = source
        if isinstance(form, Abs):
            on, off = context.low[source] >= 0, context.high[source] <= 0
            signed = np.where(on, 1.0, np.where(off, -1.0, 0.0))
        else:
            on, off = context.low[switch] > 0, context.high[switch] == 0
            signed = on.astype(np.float64)
        if self.used is not None:
            sizes = np.abs(coefficients)
            touched = (sizes > NEGLIGIBLE * sizes.max(axis=1, keepdims=True)).any(axis=0)
            self._mark(switch, 0, touched & on)
            self._mark(switch, 1, touched & off)
        if signed.any():
            self._pass_on(source, coefficients * signed)
        self._absorb(name, coefficients * ~(on | off))

    def _pass_on(self, name: str, coefficients: Array) -> None:
        self.terms[name] = self.terms[name] + coefficients if name in self.terms else coefficients

    def _absorb(self, name: str, coefficients: Array) -> None:
        if not coefficients.any():
            return
        low, high = self.context.low[name], self.context.high[name]
        positive, negative = np.maximum(coefficients, 0.0), np.minimum(coefficients, 0.0)
        least = positive @ low + negative @ high
        self.size = self.size + (positive - negative) @ np.maximum(np.abs(low), np.abs(high))
        ball = self.query.ball
        if ball is not None and name == self.graph.network.input:
            box = (self.query.root.low[name], self.query.root.high[name])
            least = np.fmax(least, coefficients @ ball.centre + ball.least(coefficients, *box))
        if self.used is not None:
            share, root = NEGLIGIBLE * self.size[:, None], self.query.root
            self._mark(name, 0, (positive * (low - root.low[name]) > share).any(axis=0))
            self._mark(name, 1, (negative * (high - root.high[name]) > share).any(axis=0))
        self.constant = self.constant + least

    def _atoms(self, lemmas: Any, weights: Array, entries: Any) -> None:
        atoms, output = self.atoms, self.graph.network.output
        numbers = atoms.numbers(*np.asarray(entries, np.intp).reshape(-1, 3).T)
        signed = -weights * atoms.signs[numbers]
        self.add(output, lemmas, atoms.left[numbers], signed)
        other = atoms.other[numbers]
        pair, single = np.flatnonzero(other >= 0), np.flatnonzero(other < 0)
        self.add(output, lemmas[pair], other[pair], -signed[pair])
        limits = self.query.limits[numbers[single]]
        self.constant += np.bincount(lemmas[single], -signed[single] * limits, self.count)
        self.size += np.bincount(lemmas[single], np.abs(signed[single] * limits), self.count)

    def _product_row(self, kind: str, name: str, form: Times, at: Any) -> tuple[list[Coefficient], Any]:
        if kind != "product_middle":
            return super()._product_row(kind, name, form, at)
        both = self.context.low[form.left][at] + self.context.high[form.left][at]
        return [(name, 1), (form.left, -both)], both * both / 4.0

    def _lose(self, lemmas: Any, values: Array) -> None:
        """Digits that the checker drops from coefficients."""
        self.constant += self.grain * np.bincount(lemmas, values, self.count)

    def _mark_row(self, kind: str, name: str, at: Any) -> None:
        form = self.graph.forms.get(name)
        ends: dict[str, tuple[int, ...]]
        if kind in ("low", "high"):
            ends = {name: LOW if kind == "low" else HIGH}
        elif isinstance(form, Times):
            ends = {form.left: BOTH, form.right: BOTH}
        elif isinstance(form, Relu | Abs) and not kind.startswith("step_"):
            ends = {form.source: ENDS_OF[kind]}
        elif isinstance(form, Gate) and not kind.startswith("step_"):
            ends = {form.value: ENDS_OF[kind]}
        else:
            ends = {name: ENDS_OF[kind]}
        flags = np.zeros(self.graph.sizes[name], bool)
        flags[at] = True
        for tensor, sides in ends.items():
            for side in sides:
                self._mark(tensor, side, flags)

    def _mark(self, name: str, side: int, flags: Flags) -> None:
        assert self.used is not None
        known = self.used.get((name, side))
        self.used[name, side] = flags if known is None else known | flags
