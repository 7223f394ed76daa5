"""Comparisons of outputs as affine rows that are >= 0 where they hold: of milp, hybrid and the prover."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from salver.nets.affine import Affine, apply
from salver.spec.property import Atom


def slack_rows(output: Affine, atoms: list[Atom] | tuple[Atom, ...]) -> Affine:
    """Affine rows [atoms] that are >= 0 exactly where the atoms hold."""
    signs = np.array([1.0 if atom.relation == ">=" else -1.0 for atom in atoms])
    left = np.array([atom.left for atom in atoms], dtype=np.intp)
    pairs = [(row, atom.other) for row, atom in enumerate(atoms) if atom.other is not None]
    rows, others = np.array(pairs, dtype=np.intp).reshape(-1, 2).T
    picker = sparse.csr_array(
        (
            np.concatenate([signs, -signs[rows]]),
            (np.concatenate([np.arange(len(atoms)), rows]), np.concatenate([left, others])),
        ),
        shape=(len(atoms), output.size),
    )
    constants = np.array([0.0 if atom.other is not None else atom.constant for atom in atoms])
    return apply(picker, output, -signs * constants)
