"""Queries over several tensors, networks or terms as queries over one network and its outputs.

The inputs of all networks become one box. Inner tensors become outputs, and every comparison that is not of
an output with a constant or with another output becomes one of a further output, a term. A witness is checked
on the files themselves: ONNX Runtime for the tensors, and correctly rounded values for the terms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from salver.core.errors import SalverError
from salver.nets.affine import UnsupportedQueryError
from salver.nets.joined import side_by_side, with_rows
from salver.nets.onnx.declared import inputs_of, is_double, refuse_contradiction
from salver.nets.onnx.file import load_model
from salver.nets.onnx.reader import read_for_query
from salver.nets.program import AbsBlock, GateBlock
from salver.solvers.query import Query, query_over
from salver.solvers.replay import LiftedReplay, QueryNetwork, Terms
from salver.spec import Atom, Property, plain
from salver.spec.numbers import above, below
from salver.spec.property import Relation
from salver.spec.read import MOST_ENTRIES
from salver.spec.terms import Monomial, Tensor, TermAtom, TermClause, TermQuery, Variable, read_term_query

Array = npt.NDArray[np.float64]
_MARGIN = Fraction(1, 1 << 20)
SPAN = 1000.0
"""How far an input without a bound is searched."""
_HINT = "state it with numbers of single precision"


class NoSolutionError(Exception):
    """The query has no solution whatever its network computes: its box is empty, or a condition false."""


def read_queries(files: Mapping[str, Path], vnnlib: Path) -> Query:
    """Reads a query over one network or more, by the networks' names in it.

    A query of the plain form, as the instance sets have it, is solved as one box (`query_over`); what that
    form cannot say, over further outputs (`read_lifted`).

    Raises:
        SalverError, UnsupportedQueryError: as `read_lifted`.
        NoSolutionError: the text alone shows that there is no solution.
    """
    text = read_term_query(vnnlib)
    try:
        prop = plain(text, str(vnnlib))
    except SalverError:
        return _over_terms(text, files, vnnlib)
    (path,) = _paths(text, files, vnnlib)
    try:
        return query_over(path, prop, text.tensors, vnnlib)
    except (SalverError, UnsupportedQueryError) as plainly:
        try:
            return _over_terms(text, files, vnnlib)
        except SalverError:
            raise plainly from None


def read_lifted(files: Mapping[str, Path], vnnlib: Path, margin: bool = False) -> Query:
    """Reads a query over the networks in `files`, by their names in the query.

    Args:
        margin: ask a little more of strict comparisons, so that what solves the query is not on their edge.
            A query without solutions says nothing then.

    Raises:
        SalverError: unreadable or malformed files, or sizes that do not fit.
        NoSolutionError: the text alone shows that there is none.
        UnsupportedQueryError: operators outside `Network`.
    """
    return _over_terms(read_term_query(vnnlib), files, vnnlib, margin)


def _over_terms(text: TermQuery, files: Mapping[str, Path], vnnlib: Path, margin: bool = False) -> Query:
    paths = _paths(text, files, vnnlib)
    lift = _lifted(text, str(vnnlib), margin)
    parts, networks, first = [], [], 0
    for number, path in enumerate(paths):
        own = [tensor for tensor in text.tensors if tensor.network == number]
        model = load_model(path, keep=[tensor.inner for tensor in own if tensor.role == "hidden"])
        part = _part(model, own, path, str(vnnlib))
        taken = slice(first, first + part.inputs)
        box = (lift.prop.input_lower[taken], lift.prop.input_upper[taken])
        first += part.inputs
        try:
            network = read_for_query(model, part.names, str(path), box)
        except SalverError as error:
            if "is not supported" in error.what:
                raise UnsupportedQueryError(str(error)) from error
            raise
        sizes = (part.inputs, sum(tensor.size for tensor in own if tensor.role != "input"))
        if sizes != (network.input_size, network.output_size):
            what = f"declares {sizes[0]} inputs and {sizes[1]} outputs and inner entries of {path.name}"
            found = f"it has {network.input_size} and {network.output_size}"
            raise SalverError(f"{what}, {found}", str(vnnlib), "use its own network")
        parts.append(part)
        networks.append(network)
    edges = any(atom.strict for clause in text.clauses for part in clause for atom in part)
    strict = text.clauses if edges else ()
    replay = LiftedReplay(tuple(parts), text.tensors, lift.places, lift.rows, lift.cut, strict)
    network = with_rows(side_by_side(networks), lift.matrix, lift.products)
    double = all(is_double(value) for part in parts for value in inputs_of(part.model.graph))
    return Query(paths[0], network, lift.prop, replay, double)


def _paths(text: TermQuery, files: Mapping[str, Path], vnnlib: Path) -> list[Path]:
    """The file of every network; one that equals another has the other's."""
    if len(text.networks) == 1 and len(files) == 1:
        ((given, file),) = files.items()
        if given in ("", str(file)) or not text.tensors[0].head:
            return [file]  # without a name on the command line, or in VNN-LIB 1.0
    paths: dict[str, Path] = {}
    for network in text.networks:
        equal = network.relation == "equal-to"
        path = paths[network.like] if equal else files.get(network.name)
        if path is None:
            what = f"network {network.name!r} has no file"
            raise SalverError(what, str(vnnlib), f"add --network {network.name}=FILE")
        if equal and files.get(network.name, path) != path:
            what = f"network {network.name!r} equals {network.like!r}, but has a file of its own"
            raise SalverError(what, "--network", "leave it out")
        paths[network.name] = path
    unknown = [name for name in files if name not in paths]
    if unknown:
        raise SalverError(f"the query has no network {unknown[0]!r}", "--network", "use the names declared")
    return list(paths.values())


def _part(model: onnx.ModelProto, tensors: list[Tensor], path: Path, vnnlib: str) -> QueryNetwork:
    inputs = inputs_of(model.graph)
    outputs = [value.name for value in model.graph.output]
    declared = [tensor for tensor in tensors if tensor.role == "input"]
    if len(inputs) != len(declared) or len(outputs) != sum(t.role == "output" for t in tensors):
        what = f"has {len(inputs)} inputs and {len(outputs)} outputs, the query declares others"
        raise SalverError(what, str(path), "use the query's own network")
    for value, tensor in zip(inputs, declared, strict=True):
        if tensor.head:  # VNN-LIB 1.0 declares no type
            refuse_contradiction(tensor.head, value, vnnlib)
        size = math.prod(axis.dim_value or 1 for axis in value.type.tensor_type.shape.dim)
        if size != tensor.size:
            what = f"input {value.name!r} has {size} entries, {tensor.name!r} is declared with {tensor.size}"
            raise SalverError(what, str(path), "use the query's own network")
    results = [tensor for tensor in tensors if tensor.role == "output"]
    for value, tensor in zip(model.graph.output, results, strict=True):
        if tensor.head:  # VNN-LIB 1.0 declares no type
            refuse_contradiction(tensor.head, value, vnnlib)
    left = iter(outputs)
    names = [t.inner if t.role == "hidden" else next(left) for t in tensors if t.role != "input"]
    made = {name for node in model.graph.node for name in node.output}
    missing = [name for name in names if name not in made and name not in outputs]
    if missing:
        raise SalverError(f"has no tensor {missing[0]!r}", str(path), "use the query's own network")
    return QueryNetwork(model, tuple(names), sum(tensor.size for tensor in declared))


def _cut(low: Array, high: Array) -> tuple[Array, Array]:
    """A finite box inside one with infinite sides."""
    low = np.where(np.isfinite(low), low, np.where(np.isfinite(high), high - SPAN, -SPAN))
    return low, np.where(np.isfinite(high), high, np.maximum(low + SPAN, SPAN))


def cut_matters(query: Query) -> bool:
    """Whether a box without solutions leaves the query open: its network reads an input that was cut."""
    if query.lifted is None or not query.lifted.cut:
        return False
    try:
        program = query.program
    except UnsupportedQueryError:
        return True
    values = [block.value for block in program.blocks if isinstance(block, GateBlock | AbsBlock)]
    read = np.zeros(program.input_size)
    for affine in (program.output, *(pre.affine for pre in program.pre), *values):
        if -1 in affine.terms:
            read += np.asarray(abs(affine.terms[-1]).sum(axis=0)).ravel()
    return bool(read[list(query.lifted.cut)].any())


@dataclass(frozen=True, eq=False)
class _Lifted:
    """The query over the outputs and terms; fields as in `LiftedReplay`, `matrix` holds the rows."""

    prop: Property
    places: tuple[int, ...]
    rows: tuple[Terms, ...]
    cut: tuple[int, ...]
    matrix: npt.NDArray[np.float32]
    products: tuple[tuple[int, ...], ...]


def _lifted(text: TermQuery, where: str, margin: bool) -> _Lifted:
    places, ends = [], {"x": 0, "y": 0}
    for tensor in text.tensors:
        side = "x" if tensor.role == "input" else "y"
        places.append(ends[side])
        ends[side] += tensor.size
    sizes = (ends["x"], ends["y"])
    lift = _Lift(text.tensors, tuple(places), sizes, where, margin)
    clauses = []
    for clause in text.clauses:
        lift.hull(clause)
        if len(clause) == 1 and len(clause[0]) == 1 and lift.bounded(clause[0][0]):
            continue
        clauses.append(tuple(tuple(lift.atom(atom) for atom in part) for part in clause))
    if not all(text.clauses) or (lift.low > lift.high).any():
        raise NoSolutionError("no input satisfies the conditions, whatever the network computes")
    cut = np.flatnonzero(~(np.isfinite(lift.low) & np.isfinite(lift.high)))
    products: dict[Monomial, int] = {}
    entries = []
    for number, row in enumerate(lift.rows):
        for monomial, factor in row:
            if len(monomial) == 1:
                column = lift.column(monomial[0])
            else:
                column = sum(sizes) + products.setdefault(monomial, len(products))
            entries.append((number, column, float(factor)))
    if len(lift.rows) * (sum(sizes) + len(products)) > MOST_ENTRIES:
        raise SalverError(f"{len(lift.rows)} terms are too many for its tensors", where, "ask less at once")
    matrix = np.zeros((len(lift.rows), sum(sizes) + len(products)), np.float32)
    for number, column, value in entries:
        matrix[number, column] = value
    if (lift.low > lift.high).any():
        # No input at all: the query is that of an empty choice, over a box that does not matter.
        lift.high = np.maximum(lift.low, lift.high)
        clauses.append(())
    try:
        prop = Property(*_cut(lift.low, lift.high), tuple(clauses), sizes[1] + len(matrix))
    except ValueError as error:
        raise SalverError(str(error), where, _HINT) from error
    columns = tuple(tuple(lift.column(variable) for variable in monomial) for monomial in products)
    return _Lifted(prop, tuple(places), tuple(lift.rows), tuple(cut.tolist()), matrix, columns)


class _Lift:
    """Bounds and terms met so far; `sizes` are the numbers of inputs and of outputs."""

    def __init__(
        self,
        tensors: tuple[Tensor, ...],
        places: tuple[int, ...],
        sizes: tuple[int, int],
        where: str,
        margin: bool,
    ) -> None:
        self.margin = margin
        self.tensors, self.places, self.sizes, self.where = tensors, places, sizes, where
        self.low, self.high = np.full(sizes[0], -np.inf), np.full(sizes[0], np.inf)
        self.rows: dict[Terms, int] = {}

    def column(self, variable: Variable) -> int:
        """Position among all inputs and outputs."""
        tensor, place = variable
        first = 0 if self.tensors[tensor].role == "input" else self.sizes[0]
        return first + self.places[tensor] + place

    def bounded(self, atom: TermAtom) -> bool:
        """Takes a bound on one input; False where the atom is none, or says more than the bound taken."""
        found = self._bound(atom)
        if found is None:
            return False
        column, is_lower, exact = found
        nearest = self._float(exact)
        bound = below(nearest, exact) if is_lower else above(nearest, exact)
        # A bound as it stands in the file is rounded as the plain reader does; a computed one to binary32.
        plain = abs(atom.terms[0][1]) == 1
        if not plain and Fraction(bound) != exact:
            bound = _outward(exact, is_lower)
        if atom.strict and self.margin:
            single = np.float32(bound)
            bound = float(np.nextafter(single, np.float32(np.inf if is_lower else -np.inf)))
        if is_lower:
            self.low[column] = max(self.low[column], bound)
        else:
            self.high[column] = min(self.high[column], bound)
        return plain or Fraction(bound) == exact

    def hull(self, clause: TermClause) -> None:
        """Takes bounds on inputs that every alternative of a clause implies, widened to single precision."""
        if len(clause) < 2:
            return
        sides: list[dict[tuple[int, bool], Fraction]] = []
        for part in clause:
            own: dict[tuple[int, bool], Fraction] = {}
            for column, is_lower, exact in filter(None, map(self._bound, part)):
                pick = max if is_lower else min
                own[column, is_lower] = pick(exact, own.get((column, is_lower), exact))
            sides.append(own)
        for column, is_lower in set(sides[0]).intersection(*sides[1:]):
            exacts = [own[column, is_lower] for own in sides]
            if is_lower:
                self.low[column] = max(self.low[column], _outward(min(exacts), True))
            else:
                self.high[column] = min(self.high[column], _outward(max(exacts), False))

    def _bound(self, atom: TermAtom) -> tuple[int, bool, Fraction] | None:
        """The input that an atom bounds, whether from below, and where; None where it says something else."""
        (monomial, factor), *others = atom.terms
        if others or len(monomial) > 1 or self.tensors[monomial[0][0]].role != "input":
            return None
        return self.column(monomial[0]), (atom.relation == ">=") == (factor > 0), atom.constant / factor

    def atom(self, atom: TermAtom) -> Atom:
        """The comparison over outputs and terms."""
        # Negative for an input and for a product, which both need a term.
        columns = [
            self.column(monomial[0]) - self.sizes[0] if len(monomial) == 1 else -1
            for monomial, _ in atom.terms
        ]
        factors = [factor for _, factor in atom.terms]
        if atom.strict and self.margin:
            step = max(Fraction(1), abs(atom.constant)) * _MARGIN
            atom = replace(atom, constant=atom.constant + (step if atom.relation == ">=" else -step))
        flipped: Relation = "<=" if atom.relation == ">=" else ">="
        if min(columns) >= 0 and len(columns) == 1 and abs(factors[0]) == 1:
            relation = atom.relation if factors[0] > 0 else flipped
            return Atom(columns[0], relation, constant=self._float(atom.constant / factors[0]))
        if min(columns) >= 0 and not atom.constant and sorted(factors) == [-1, 1]:
            relation = atom.relation if factors[0] > 0 else flipped
            return Atom(columns[0], relation, other=columns[1])
        scale = self._scale(factors)
        terms = tuple(sorted((monomial, factor * scale) for monomial, factor in atom.terms))
        row = self.rows.setdefault(terms, len(self.rows))
        return Atom(self.sizes[1] + row, atom.relation, constant=self._float(atom.constant * scale))

    def _scale(self, factors: list[Fraction]) -> Fraction:
        """What makes every coefficient a number of single precision, which the terms then hold exactly."""
        for scale in (Fraction(1), Fraction(math.lcm(*(factor.denominator for factor in factors)))):
            if all(_is_single(factor * scale) for factor in factors):
                return scale
        what = (
            "coefficients that are no numbers of single precision, nor multiples of such, are not supported"
        )
        raise SalverError(what, self.where, _HINT)

    def _float(self, value: Fraction) -> float:
        try:
            return float(value)
        except OverflowError as error:
            raise SalverError("a bound is beyond double precision", self.where, _HINT) from error


def _outward(value: Fraction, down: bool) -> float:
    """The number of single precision next to an exact one that is not above it, or not below it."""
    with np.errstate(over="ignore"):
        try:
            single = np.float32(float(value))
        except OverflowError:
            single = np.float32(np.inf if value > 0 else -np.inf)
    toward = np.float32(-np.inf if down else np.inf)
    while np.isfinite(single) and (
        Fraction(float(single)) > value if down else Fraction(float(single)) < value
    ):
        single = np.nextafter(single, toward)
    if not np.isfinite(single) and (single > 0) == down:
        return float(np.finfo(np.float32).max) * (1 if down else -1)
    return float(single)


def _is_single(value: Fraction) -> bool:
    bits = value.numerator.bit_length() - value.denominator.bit_length()
    if not -120 < bits < 120:  # clear of subnormal and of infinite numbers
        return False
    return Fraction(float(np.float32(float(value)))) == value
