"""What the search showed, kept for a proof: how each node was split, and the multipliers that refuted sides.

Only kept where a proof is asked for (`Options.record`); `salver.solvers.proving` writes it in the checker's
words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.nets.program import Program
from salver.spec import Atom

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]

TWO_SIDED = frozenset({"range", "product_point"})
"""Kinds of rows with a lower and an upper limit."""


@dataclass(frozen=True, eq=False)
class Weighted:
    """Rows or column bounds of one kind with their multipliers.

    Attributes:
        kind: of the row in the checker's words; `range` for limits of outputs, `product_point` for both sides
            of a product whose factor is a point.
        of: what `number` counts: `pre`, `value` or `block` for column bounds, else the kind (see `Origin`).
        entries, multipliers: [k]; only multipliers of `TWO_SIDED` kinds may be negative, for the upper limit.
    """

    kind: str
    of: str
    number: int
    entries: Indices
    multipliers: Array


@dataclass(frozen=True, eq=False)
class Refutation:
    """A combination of rows that no point reaches, by what its rows and column bounds stand for.

    Attributes:
        atoms: comparisons of outputs with their multipliers.
    """

    parts: tuple[Weighted, ...]
    atoms: tuple[tuple[Atom, float], ...]


@dataclass(frozen=True, eq=False)
class Refuted:
    """A neuron of which one side, 0 or 1, was refuted."""

    pre: int
    neuron: int
    side: int
    why: Refutation


@dataclass(frozen=True, eq=False)
class Ends:
    """Ends of ranges that a pass moved.

    Attributes:
        of, number: as in `Weighted`: `pre`, `value` or `block`.
        entries, lower: of each end [k] its entry, and whether it is the lower one.
        multipliers: of the facts that show each end [k, facts], sparse; None where there are none.
    """

    of: str
    number: int
    entries: Indices
    lower: Flags
    multipliers: Any = None


Fact = tuple[int, int, int] | Atom
"""What cuts the box: a decided sign, as pre-activation, neuron and sign, or an atom."""


@dataclass(frozen=True, eq=False)
class Pass:
    """What one way of bounding moved in a node.

    Attributes:
        kind: `forward`; `backward`, from the limits of the outputs; `cut`, over the box that `facts` leave.
        after: how many refutations of the node were found before.
        undecided: neurons that were open after it.
    """

    kind: str
    after: int
    undecided: int
    ends: tuple[Ends, ...]
    facts: tuple[Fact, ...] = ()

    @property
    def numbers(self) -> int:
        """How many numbers are kept, about."""
        return sum(len(e.entries) + (0 if e.multipliers is None else e.multipliers.nnz) for e in self.ends)


@dataclass(frozen=True)
class Decision:
    """What makes a node of its parent.

    Attributes:
        kind: what `number` counts: `neuron` for pre-activations, `abs` for blocks, `clause`; or `input`.
        entry, side: of the neuron, the argument of the Abs or the input; side 1 is >= 0, or >= `where`.
        part: the conjunction that is to hold of the clause.
    """

    kind: str
    number: int
    entry: int = -1
    side: int = -1
    part: tuple[Atom, ...] = ()
    where: float = 0.0


@dataclass(eq=False)
class Journal:
    """What was found in one node.

    Attributes:
        refuted: in the order in which they were found; every one may rest on those before it.
        closing: why the node has no point, where one refutation says so.
        passes: bounds of the node, in the order in which they were found.
        children: what the node was split into.
        program: at the root, the program whose neurons and blocks all numbers mean; None for that of the
            whole network.
        bare: the node had no bounds of its own: it was split, or closed by `closing` alone.
        unnoted: bounds of the node were found that no pass says.
        at_root: bounds closed the whole box, and nothing but `program` is kept.
    """

    refuted: list[Refuted] = field(default_factory=list)
    closing: Refutation | None = None
    children: list[tuple[Decision, Journal]] = field(default_factory=list)
    program: Program | None = None
    bare: bool = False
    unnoted: bool = False
    at_root: bool = False
    passes: list[Pass] = field(default_factory=list)
