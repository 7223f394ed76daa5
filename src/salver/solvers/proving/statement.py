"""What a proof is about, as the checker reads it, with the solvers' names for its tensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from salver.nets.affine import ROUNDING
from salver.nets.network import Network
from salver.nets.operators import Reshape
from salver.nets.program import (
    AbsBlock,
    FactorBlock,
    GateBlock,
    MaskBlock,
    ProductBlock,
    Program,
    ReluBlock,
)
from salver.proofs.ball import ExactBall
from salver.proofs.graph import STEP, Abs, Affine, Gate, Graph, Relu, Times
from salver.proofs.onnx_file import NetworkFile, UnsupportedNetworkError, parse_network
from salver.proofs.record import QueryFiles
from salver.proofs.vnnlib_file import ExactAtom, ExactProperty
from salver.solvers.query import Query
from salver.spec import Property

Array = npt.NDArray[np.float64]
TOLERANCE = 1e-4
"""Relative difference of a tensor's values in the two readings that rounding explains."""
REWRITTEN = "the network was rewritten while it was read"


@dataclass(eq=False)
class NamedGraph(Graph):
    """The checker's graph, whose `root` also takes the names of the solvers' network.

    Attributes:
        behind: of a tensor that the solvers' reader made, the tensor whose entries it has.
    """

    behind: dict[str, str] = field(default_factory=dict)

    def root(self, name: str) -> str:
        while name not in self.sizes and name in self.behind:
            name = self.behind[name]
        return super().root(name)


def stated(query: Query, files: QueryFiles | None = None) -> tuple[NamedGraph, ExactProperty]:
    """The checker's graph and property of a query.

    Args:
        files: the files of the query; without them the property is the solvers' own, which may be rounded.

    Raises:
        UnsupportedNetworkError: proofs do not cover the network, or the solvers' reader has rewritten it.
        UnsupportedPropertyError: proofs do not cover the property.
        UnsupportedQueryError: the solvers do not.
    """
    if files is None:
        network, prop = parse_network(QueryFiles.read(query.onnx, query.onnx).network), exact(query.prop)
    else:
        network, prop = files.statement
    graph = named_graph(network, query.network)
    if not _same_clauses(query.prop, prop):
        raise UnsupportedNetworkError("the query was rewritten while it was read")
    _check_tensors(query.program, graph)
    rng, low, high = np.random.default_rng(0), query.prop.input_lower, query.prop.input_upper
    for share in (np.full(low.shape, 0.5), rng.random(low.shape)):
        _check_values(query.program, graph, low + share * (high - low))
    return graph, prop


def named_graph(network: NetworkFile, read: Network) -> NamedGraph:
    """The graph of a file, with the names of the solvers' reading of it."""
    behind = {node.name: node.inputs[0] for node in read.nodes if isinstance(node.operator, Reshape)}
    return NamedGraph(network, behind=behind)


def exact(prop: Property) -> ExactProperty:
    """A property of floats in exact numbers."""
    clauses = tuple(
        tuple(
            tuple(ExactAtom(a.left, a.relation, a.other, Fraction(float(a.constant))) for a in part)
            for part in clause
        )
        for clause in prop.clauses
    )
    lower, upper = (
        tuple(Fraction(value) for value in side.tolist()) for side in (prop.input_lower, prop.input_upper)
    )
    ball = None
    if prop.ball is not None:
        centre = tuple(Fraction(value) for value in prop.ball.centre.tolist())
        below = tuple(low < middle for low, middle in zip(lower, centre, strict=True))
        above = tuple(high > middle for high, middle in zip(upper, centre, strict=True))
        ball = ExactBall(centre, Fraction(prop.ball.square), below, above)
    return ExactProperty(lower, upper, clauses, prop.output_count, ball)


def _same_clauses(prop: Property, found: ExactProperty) -> bool:
    """Whether clauses, alternatives and atoms stand at the same places, up to the rounding of constants."""

    def shape(given: Property | ExactProperty) -> list[list[list[tuple[int, str, int | None]]]]:
        return [[[(a.left, a.relation, a.other) for a in part] for part in c] for c in given.clauses]

    def constants(given: Property | ExactProperty) -> list[float]:
        return [float(a.constant) for c in given.clauses for part in c for a in part]

    return shape(prop) == shape(found) and np.allclose(constants(prop), constants(found), rtol=1e-6, atol=0.0)


def _check_tensors(program: Program, graph: NamedGraph) -> None:
    """Raises: UnsupportedNetworkError: a part of the program is no tensor of the file of the same kind."""
    switches = [graph.root(pre.name) for pre in program.pre]
    sizes = [pre.affine.size for pre in program.pre]
    fits = all(graph.sizes.get(name) == size for name, size in zip(switches, sizes, strict=True))
    for block in program.blocks:
        match block, graph.forms.get(block.name):
            case FactorBlock(), _:
                fits &= graph.sizes.get(graph.root(block.source)) == block.size
            case ProductBlock(), Times(left, right):
                factor = program.blocks[block.factor]
                assert isinstance(factor, FactorBlock)
                sources = sorted((graph.root(factor.source), graph.root(block.source)))
                fits &= sources == sorted((left, right))
            case ReluBlock(), Relu(source):
                fits &= source == switches[block.pre]
            case MaskBlock(), _:
                fits &= switches[block.pre] in graph.switches
            case GateBlock(), Gate(switch, value):
                mask = program.blocks[block.mask]
                assert isinstance(mask, MaskBlock)
                fits &= (switch, value) == (switches[mask.pre], graph.root(block.source))
            case AbsBlock(), Abs(source):
                fits &= source == graph.root(block.source)
            case _:
                fits = False
    if not fits:
        raise UnsupportedNetworkError(REWRITTEN)


def _check_values(program: Program, graph: NamedGraph, x: Array) -> None:
    """Raises: UnsupportedNetworkError: at the input `x` [n] a tensor has two values."""
    outputs, pre, blocks = program.evaluate(x[None])
    largest = {number: np.abs(value[0]) for number, value in blocks.items()}
    switches = {graph.root(p.name): z[0] for p, z in zip(program.pre, pre, strict=True)}
    own = _values(graph, x, switches)
    read = [(graph.network.output, outputs[0], program.output)]
    read += [(graph.root(p.name), z[0], p.affine) for p, z in zip(program.pre, pre, strict=True)]
    for name, values, affine in read:
        size = max(float(np.abs(values).max(initial=0.0)), float(np.abs(own[name]).max(initial=0.0)))
        # Sums of large numbers that cancel have no digits to compare.
        allowed = np.maximum(TOLERANCE * size, ROUNDING * affine.magnitude(largest))
        if not (np.abs(values - own[name]) <= allowed).all():
            raise UnsupportedNetworkError(f"{REWRITTEN}: {name!r:.60} has other values")


def _values(graph: NamedGraph, x: Array, switches: dict[str, Array]) -> dict[str, Array]:
    """About the value of every tensor at `x`, with the masks of `switches`: next to z = 0 either is right."""
    values = {graph.network.input: x}
    values |= {STEP + name: np.asarray(z > 0, np.float64) for name, z in switches.items()}
    for name, form in graph.forms.items():
        match form:
            case Affine(terms, bias):
                values[name] = bias.floats @ np.ones(1)
                for source, matrix in terms:
                    values[name] = values[name] + matrix.floats @ values[source]
            case Relu(source):
                values[name] = np.maximum(values[source], 0.0)
            case Gate(switch, source):
                values[name] = values[STEP + switch] * values[source]
            case Abs(source):
                values[name] = np.abs(values[source])
            case Times(left, right):
                values[name] = values[left] * values[right]
    return values
