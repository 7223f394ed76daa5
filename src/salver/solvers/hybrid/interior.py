"""A point well inside a part of which every sign is decided: there the query is one linear program.

A vertex of it lies on limits and on z = 0, where single precision falls to either side. The point with the
most room to all of them (a Chebyshev centre with distances in shares of what each row can take) survives
replay most often.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

from salver.solvers.hybrid.linear import centred, scaled
from salver.solvers.milp.program import Milp

Array = npt.NDArray[np.float64]
_TOLERANCE = 1e-10


def interior_point(model: Milp) -> Array | None:
    """Inputs [n] with the most room to every inequality of a program without open binaries; None where HiGHS
    finds none."""
    from scipy.optimize import linprog

    program, columns, _ = scaled(model)
    middle, low, high = centred(program)
    equal = low == high
    width = np.where(np.isfinite(high - low), (high - low) / 2, 1.0)
    rows = [
        (sign * program.matrix[keep], sign * limit[keep], width[keep])
        for sign, limit, keep in (
            (-1.0, low, np.isfinite(low) & ~equal),
            (1.0, high, np.isfinite(high) & ~equal),
        )
    ]
    inequalities = sparse.vstack(
        [sparse.hstack([matrix, sparse.csr_array(room[:, None])]) for matrix, _, room in rows], format="csr"
    )
    equations = sparse.hstack([program.matrix[equal], sparse.csr_array((int(equal.sum()), 1))], format="csr")
    cost = np.zeros(len(columns) + 1)
    cost[-1] = -1.0
    found = linprog(
        cost,
        A_ub=inequalities,
        b_ub=np.concatenate([limit for _, limit, _ in rows]),
        A_eq=equations if equal.any() else None,
        b_eq=low[equal] if equal.any() else None,
        bounds=[*zip(program.lower - middle, program.upper - middle, strict=True), (0.0, 1.0)],
        method="highs",
        options={"primal_feasibility_tolerance": _TOLERANCE, "dual_feasibility_tolerance": _TOLERANCE},
    )
    return None if found.x is None else np.asarray(((found.x[:-1] + middle) * columns)[: model.inputs])
