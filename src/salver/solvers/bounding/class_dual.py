"""Bounds of rows over the network alone in parts of a query, by ascent on slopes and multipliers together.

A row that reads ReLUs only, as the difference of two logits does, is carried back to the input as in
`bounds`, with a lower slope of its own for every open neuron (alpha-CROWN: Xu et al., 2021) and a multiplier
>= 0 for every sign that a part fixes (beta-CROWN: Wang et al., NeurIPS 2021). The ranges of the neurons stay
those of the whole query, so a step costs two products with each map, for many parts at once.

The steps are in single precision, in units of each row. Any slopes in [0, 1] and any multipliers are sound:
`certified` evaluates what they found in float64, moved outwards by all rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from salver.nets.affine import Affine, Matrix, dense
from salver.nets.program import Program, ReluBlock
from salver.solvers.bounding import coefficients
from salver.solvers.bounding.bounds import Bounds, least_over_input
from salver.solvers.bounding.relaxation import Lines, relu_lines
from salver.solvers.journal import Refutation, Weighted
from salver.spec import Atom

Array = npt.NDArray[np.float64]
Single = npt.NDArray[np.float32]
Signs = npt.NDArray[np.int8]
_FULL = 0.15
"""Share of entries that are not 0 above which a matrix is multiplied as a dense one."""
_RATE = 0.1
NOTHING: Mapping[int, Any] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Parts:
    """Parts of a query, one a column.

    Attributes:
        rows: the row that each part bounds [parts].
        signs: per pre-activation of the program, int8 [size, parts], 0 for open.
        slopes: per ReLU of `ClassDual.relus`, lower slopes of open neurons in [0, 1] [size, parts].
        multipliers: likewise, of fixed signs, >= 0, in units of the row over the range of the neuron.
    """

    rows: npt.NDArray[np.intp]
    signs: tuple[Signs, ...]
    slopes: tuple[Single, ...]
    multipliers: tuple[Single, ...]

    def pick(self, columns: Any) -> Parts:
        """Chosen parts, as copies."""
        return Parts(
            self.rows[columns],
            tuple(part[:, columns] for part in self.signs),
            tuple(part[:, columns] for part in self.slopes),
            tuple(part[:, columns] for part in self.multipliers),
        )


@dataclass(frozen=True, eq=False)
class Certified:
    """Certified bounds [parts], with the weights of the ReLUs and the multipliers [parts, size] per layer."""

    bounds: Array
    parts: Parts
    weighted: list[tuple[Array, Array]]


@dataclass(frozen=True, eq=False)
class _Neurons:
    """One layer of ReLUs, in float32: ranges and lines of their open neurons [size, 1].

    Attributes:
        number: the block, and pre: the pre-activation that it reads.
        cut: neurons whose sign cuts the box where a part fixes it.
    """

    number: int
    pre: int
    map: _Map
    lines: Lines
    width: Single
    cut: npt.NDArray[np.bool_]
    slope: Single
    offset: Single

    def within(self, bounds: Bounds) -> _Neurons:
        """The same neurons by other bounds."""
        return _Neurons(self.number, self.pre, self.map, *_lines(bounds, self.pre))


@dataclass(frozen=True, eq=False)
class _Map:
    """An affine map in float32 with its matrices both ways."""

    terms: dict[int, tuple[Matrix, Matrix]]
    constant: Single

    @classmethod
    def of(cls, affine: Affine) -> _Map:
        terms = {block: _both(matrix) for block, matrix in affine.terms.items() if _count(matrix)}
        return cls(terms, affine.constant.astype(np.float32))

    def forward(self, values: dict[int, Single]) -> Single:
        total = np.repeat(self.constant[:, None], values[-1].shape[1], axis=1)
        for block, (matrix, _) in self.terms.items():
            total += matrix @ values[block]
        return total

    def back(self, weights: Single, below: dict[int, Single]) -> Single:
        """Adds the weights [size, parts] to those of what is read; the constant's part [parts]."""
        for block, (_, turned) in self.terms.items():
            part = turned @ weights
            below[block] = below[block] + part if block in below else part
        return np.asarray(self.constant @ weights)


@dataclass(eq=False)
class _Pass:
    """One pass back: bounds [parts], the weights of every ReLU and of the input, as they were met."""

    bounds: Single
    weights: list[Single] = field(default_factory=list)
    input: Single = field(default_factory=lambda: np.zeros((0, 0), np.float32))


@dataclass(frozen=True, eq=False)
class ClassDual:
    """Lower bounds of rows over the ReLUs of a program, in parts of the box of `bounds`.

    Attributes:
        rows: affine rows.
        bounds: of the program, which hold in every part.
        relus: the layers that the rows depend on, the last one first.
    """

    program: Program
    bounds: Bounds
    rows: Affine
    relus: tuple[_Neurons, ...]
    map: _Map

    @classmethod
    def over(
        cls, program: Program, bounds: Bounds, rows: Affine, known: Mapping[int, _Neurons] = NOTHING
    ) -> ClassDual | None:
        """None where the rows depend on no ReLU, on other blocks, or on two ReLUs of one pre-activation.

        Args:
            known: block -> its neurons within these bounds, where another dual has them.
        """
        reached = {block for block, matrix in rows.terms.items() if _count(matrix)}
        relus: list[_Neurons] = []
        for number in reversed(range(len(program.blocks))):
            block = program.blocks[number]
            if number not in reached:
                continue
            if not isinstance(block, ReluBlock) or any(block.pre == known.pre for known in relus):
                return None
            neurons = known.get(number) or _neurons(program, bounds, number, block)
            relus.append(neurons)
            reached |= set(relus[-1].map.terms)
        return cls(program, bounds, rows, tuple(relus), _Map.of(rows)) if relus else None

    def start(self, rows: npt.NDArray[np.intp]) -> Parts:
        """The whole, once for each of the rows, with the slopes of the plain backward pass."""
        count = len(rows)
        signs = tuple(np.repeat(signs[:, None], count, axis=1) for signs in self.bounds.signs)
        slopes = tuple(
            np.repeat(n.lines.lower_slope[:, None], count, axis=1).astype(np.float32) for n in self.relus
        )
        return Parts(rows, signs, slopes, tuple(np.zeros_like(slope) for slope in slopes))

    def values(self, x: Single) -> Single:
        """Values [rows, points] of the rows at points [n, points] of the box."""
        values = {-1: x}
        for neurons in reversed(self.relus):
            values[neurons.number] = np.maximum(neurons.map.forward(values), 0.0)
        return self.map.forward(values)

    def bounds_of(self, parts: Parts, unit: Single) -> Single:
        """Lower bounds [parts] by the slopes and multipliers that the parts have, not certified."""
        return self._back(parts, unit).bounds

    def ascended(
        self, parts: Parts, unit: Single, steps: int, scored: bool = True
    ) -> tuple[Parts, Single, Single, Single]:
        """Better slopes and multipliers after some steps.

        Args:
            unit: size of each row [parts], for the multipliers.
            scored: whether the scores are wanted; else those that are returned mean nothing.

        Returns:
            The parts; their bounds, not certified [parts]; scores of the neurons to split on [all neurons of
            `relus` in order, parts], -1 for those that are fixed; and the points where the last bounds are
            least [n, parts].
        """
        moved = list(parts.slopes + parts.multipliers)
        kept, best = list(moved), np.full(len(parts.rows), -np.inf, np.float32)
        momentum: list[Any] = [0.0] * len(moved)
        energy: list[Any] = [0.0] * len(moved)
        layers = len(self.relus)
        split = [bool((parts.signs[n.pre][n.cut[:, 0]] != 0).any()) for n in self.relus]
        free = [*range(layers), *(layers + layer for layer in np.flatnonzero(split))]
        scores = np.zeros((0, len(parts.rows)), np.float32)
        with np.errstate(all="ignore"):
            for step in range(steps + 1):
                at = replace(parts, slopes=tuple(moved[:layers]), multipliers=tuple(moved[layers:]))
                found = self._back(at, unit)
                better = found.bounds > best
                best = np.where(better, found.bounds, best)
                for number in free:
                    kept[number] = np.where(better, moved[number], kept[number])
                point = self._least(found)
                last = step == steps or bool((best > 0).all())
                if last and not scored:
                    break
                gradients, scores = self._forward(at, found, unit, point, split)
                if last:
                    break
                rate = _RATE / np.sqrt(1.0 + step / 10)
                for number in free:
                    gradient = gradients[number]
                    momentum[number] = 0.8 * momentum[number] + 0.2 * gradient
                    energy[number] = 0.95 * energy[number] + 0.05 * gradient**2
                    size = np.sqrt(energy[number] / (1 - 0.95 ** (step + 1))) + np.float32(1e-12)
                    move = momentum[number] / (1 - 0.8 ** (step + 1)) / size
                    most = 1.0 if number < layers else np.inf
                    moved[number] = np.clip(moved[number] + np.float32(rate) * move, 0.0, most)
        done = replace(parts, slopes=tuple(kept[:layers]), multipliers=tuple(kept[layers:]))
        return done, best, scores, point

    def certified(self, parts: Parts, unit: Single) -> Certified:
        """Lower bounds [parts] of the rows in the parts, by their slopes and multipliers, rounded down."""
        weighted: list[tuple[Array, Array]] = []
        chosen = self.rows.rows(parts.rows)
        weights: dict[int, Any] = {block: dense(matrix) for block, matrix in chosen.terms.items()}
        constant, scale = chosen.constant, chosen.magnitude(self.bounds.largest)
        for layer, neurons in enumerate(self.relus):
            mine = weights.pop(neurons.number)
            through, offset, pulled = self._substituted(parts, unit, layer, mine)
            weighted.append((mine, np.abs(pulled)))
            slope = through + pulled
            low, high = self.bounds.pre_lower[neurons.pre], self.bounds.pre_upper[neurons.pre]
            ends = np.maximum(np.abs(low), np.abs(high))
            reach = np.maximum(self.bounds.largest[neurons.number], ends)
            source = self.program.pre[neurons.pre].affine
            constant = constant + offset.sum(axis=1) + slope @ source.constant
            size = np.abs(through) + np.abs(pulled)
            scale = scale + 4.0 * coefficients.size(mine, reach)
            scale = scale + 4.0 * coefficients.size(size, self.bounds.pre_size[neurons.pre])
            for target, matrix in source.terms.items():
                weights[target] = coefficients.added(weights.get(target), slope @ matrix)
        matrix = weights.get(-1, np.zeros((len(constant), self.program.input_size)))
        return Certified(least_over_input(self.bounds, dense(matrix), constant, scale), parts, weighted)

    def refutation(self, certified: Certified, column: int, atom: Atom) -> Refutation:
        """Why the row of a part, minus the slack of an atom, is above 0 there; in the words of a journal."""
        found: list[Weighted] = []
        for layer, neurons in enumerate(self.relus):
            weights, pulled = (part[column] for part in certified.weighted[layer])
            signs, lines = certified.parts.signs[neurons.pre][:, column], neurons.lines
            below, above = np.where(signs == 0, (np.maximum(weights, 0.0), np.maximum(-weights, 0.0)), 0.0)
            slopes = np.clip(certified.parts.slopes[layer][:, column], 0.0, 1.0)
            # The upper line is the sum of those to the two corners that leaves the mask out.
            for kind, of, multipliers in (
                ("relu_z", neurons.number, below * slopes),
                ("relu_on", neurons.number, above * (1.0 - lines.upper_slope)),
                ("relu_off", neurons.number, above * lines.upper_slope),
                ("low", neurons.pre, np.where(signs > 0, pulled, 0.0)),
                ("high", neurons.pre, np.where(signs < 0, pulled, 0.0)),
            ):
                used = np.flatnonzero(multipliers > 0.0)
                if len(used):
                    found.append(Weighted(kind, kind, of, used, multipliers[used]))
        return Refutation(tuple(found), ((atom, 1.0),))

    def _substituted(
        self, parts: Parts, unit: Single, layer: int, weights: Array
    ) -> tuple[Array, Array, Array]:
        """Of weights of ReLUs: those of their arguments, offsets, and what multipliers add [parts, size]."""
        neurons, signs = self.relus[layer], parts.signs[self.relus[layer].pre].T
        lines, above = neurons.lines, weights > 0.0
        slopes = np.clip(parts.slopes[layer].T.astype(np.float64), 0.0, 1.0)
        line = np.where(above, slopes, lines.upper_slope)
        through = weights * np.where(signs == 0, line, signs > 0)
        offset = weights * np.where((signs == 0) & ~above, lines.upper_offset, 0.0)
        pulled = parts.multipliers[layer].T.astype(np.float64) * unit[:, None] / neurons.width.T
        pulled = np.where(np.isfinite(pulled), np.maximum(pulled, 0.0), 0.0)
        return through, offset, -signs * pulled

    def _back(self, parts: Parts, unit: Single) -> _Pass:
        count = len(parts.rows)
        chosen = np.zeros((len(self.map.constant), count), np.float32)
        chosen[parts.rows, np.arange(count)] = 1.0
        below: dict[int, Single] = {}
        found = _Pass(self.map.back(chosen, below))
        for layer, neurons in enumerate(self.relus):
            mine, signs = below.pop(neurons.number), parts.signs[neurons.pre]
            found.weights.append(mine)
            open_, up = signs == 0, np.minimum(mine, 0.0)
            line = np.maximum(mine, 0.0) * parts.slopes[layer] + up * neurons.slope
            through = np.where(open_, line, mine * (signs > 0)).astype(np.float32)
            if parts.multipliers[layer].any():
                through -= signs * parts.multipliers[layer] * (unit / neurons.width)
            found.bounds = found.bounds + (up * open_ * neurons.offset).sum(axis=0)
            found.bounds = found.bounds + neurons.map.back(through, below)
        none = np.zeros((self.program.input_size, count), np.float32)
        found.input = below.get(-1, none)
        middle, radius = self._box
        found.bounds = found.bounds + middle @ found.input - radius @ np.abs(found.input)
        return found

    @property
    def _box(self) -> tuple[Single, Single]:
        low, high = self.bounds.input_lower, self.bounds.input_upper
        return ((low + high) / 2).astype(np.float32), ((high - low) / 2).astype(np.float32)

    def _least(self, found: _Pass) -> Single:
        """The points [n, parts] where the bounds of a pass are least."""
        middle, radius = (part[:, None] for part in self._box)
        return np.asarray(middle - radius * np.sign(found.input))

    def _forward(
        self, parts: Parts, found: _Pass, unit: Single, point: Single, split: list[bool]
    ) -> tuple[list[Single], Single]:
        """Gradients of the bounds, in units of the rows, and scores, from the point where a pass is least.

        Only layers that are `split` have gradients of multipliers: some part fixes a sign there.
        The score of a neuron is what its line loses there, and a tenth of the most that it may lose.
        """
        values = {-1: point}
        layers = len(self.relus)
        gradients: list[Any] = [None] * (2 * layers)
        scores: list[Any] = [None] * layers
        for layer in reversed(range(layers)):
            neurons, weights = self.relus[layer], found.weights[layer]
            signs, z = parts.signs[neurons.pre], neurons.map.forward(values)
            open_, positive = signs == 0, np.maximum(weights, 0.0)
            gradients[layer] = positive * open_ * z / unit
            if split[layer]:
                gradients[layers + layer] = -signs * z * neurons.cut / neurons.width
            line = np.where(weights < 0, neurons.slope * z + neurons.offset, parts.slopes[layer] * z)
            values[neurons.number] = np.where(open_, line, z * (signs > 0))
            lost = np.abs(line - np.maximum(z, 0.0)) + 0.1 * (weights < 0) * neurons.offset
            scores[layer] = np.where(open_, np.abs(weights) * lost, -1.0)
        return gradients, np.concatenate(scores)


def _neurons(program: Program, bounds: Bounds, number: int, block: ReluBlock) -> _Neurons:
    map_ = _Map.of(program.pre[block.pre].affine)
    return _Neurons(number, block.pre, map_, *_lines(bounds, block.pre))


def _lines(bounds: Bounds, pre: int) -> tuple[Lines, Single, npt.NDArray[np.bool_], Single, Single]:
    low, high = bounds.pre_lower[pre], bounds.pre_upper[pre]
    signs = bounds.signs[pre]
    lines = relu_lines(signs, low, high)
    width = np.where(high > low, high - low, 1.0)
    parts = (width, lines.upper_slope, lines.upper_offset)
    columns: list[Single] = [part.astype(np.float32)[:, None] for part in parts]
    cut = np.where(signs == 0, (low < 0.0) & (high > 0.0), np.where(signs > 0, low <= 0.0, high >= 0.0))
    return lines, columns[0], cut[:, None], columns[1], columns[2]


def _count(matrix: Matrix) -> int:
    return int(matrix.nnz if sparse.issparse(matrix) else np.count_nonzero(matrix))


def _both(matrix: Matrix) -> tuple[Matrix, Matrix]:
    """A matrix in float32, and its transposed."""
    if _count(matrix) < _FULL * matrix.shape[0] * matrix.shape[1]:
        rows = sparse.csr_array(matrix).astype(np.float32)
        return rows, sparse.csr_array(rows.T)
    full = np.ascontiguousarray(dense(matrix), np.float32)
    return full, full.T
