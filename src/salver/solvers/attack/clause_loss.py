"""The clauses of a property as arrays: margins of a batch, and a loss with its derivative."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import sparse

from salver.spec.property import Property

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class ClauseArrays:
    """Slack of atom a is (outputs @ picker')[a] - constants[a], >= 0 where it holds.

    Attributes:
        picker: CSR [atoms, outputs] with entries +-1.
        constants: float64 [atoms].
        conjunction_starts: first atom of every conjunction; clause_starts: first conjunction of every clause.
        conjunction_of: conjunction of every atom; clause_of: clause of every conjunction.
        impossible: some clause has no conjunction at all.
    """

    picker: sparse.csr_array
    constants: Array
    conjunction_starts: Indices
    conjunction_of: Indices
    clause_starts: Indices
    clause_of: Indices
    impossible: bool

    @cached_property
    def _picked(self) -> sparse.csr_array:
        """The picker transposed, [outputs, atoms]: making it takes longer than a step's product."""
        return sparse.csr_array(self.picker.T)

    def margins(self, outputs: Array) -> tuple[Array, Array, Array]:
        """Slack of every atom, conjunction (its least) and clause (its best): [b, count] each."""
        slack = (self.picker @ outputs.T).T - self.constants
        if not len(self.constants):
            empty = np.zeros((len(outputs), 0))
            return slack, empty, empty
        conjunctions = np.minimum.reduceat(slack, self.conjunction_starts, axis=1)
        return slack, conjunctions, np.maximum.reduceat(conjunctions, self.clause_starts, axis=1)

    def cotangent(self, outputs: Array, weights: Array, room: Array) -> Array:
        """Derivative [b, outputs] of sum_c weights[b, c] * max(room[c] - margin_c, 0) by the outputs.

        The subgradient goes to the least atom of the best conjunction; ties all get it.
        """
        slack, conjunctions, clauses = self.margins(outputs)
        short = np.where(clauses < room, weights, 0.0)
        chosen = conjunctions == clauses[:, self.clause_of]
        critical = (slack == conjunctions[:, self.conjunction_of]) & chosen[:, self.conjunction_of]
        part = np.where(critical, short[:, self.clause_of[self.conjunction_of]], 0.0)
        return np.asarray(-(self._picked @ part.T).T)


def clause_arrays(prop: Property) -> ClauseArrays:
    """Clauses that hold by themselves (a conjunction without atoms) are left out."""
    clauses = [clause for clause in prop.clauses if all(clause) or not clause]
    impossible = any(not clause for clause in clauses)
    conjunctions = [conjunction for clause in clauses for conjunction in clause]
    atoms = [atom for conjunction in conjunctions for atom in conjunction]
    signs = np.array([1.0 if atom.relation == ">=" else -1.0 for atom in atoms])
    pairs = [(row, atom.other) for row, atom in enumerate(atoms) if atom.other is not None]
    rows, others = np.array(pairs, dtype=np.intp).reshape(-1, 2).T
    index = (
        np.concatenate([np.arange(len(atoms)), rows]),
        np.concatenate([np.array([atom.left for atom in atoms], dtype=np.intp), others]),
    )
    picker = sparse.csr_array(
        (np.concatenate([signs, -signs[rows]]), index), shape=(len(atoms), prop.output_count)
    )
    constants = signs * np.array([0.0 if atom.other is not None else atom.constant for atom in atoms])
    sizes = np.array([len(conjunction) for conjunction in conjunctions], dtype=np.intp)
    counts = np.array([len(clause) for clause in clauses], dtype=np.intp)
    return ClauseArrays(picker, constants, *_groups(sizes), *_groups(counts), impossible)


def _groups(sizes: Indices) -> tuple[Indices, Indices]:
    """Start of every group, and the group of every member."""
    return np.cumsum(sizes) - sizes, np.repeat(np.arange(len(sizes)), sizes)
