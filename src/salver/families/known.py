"""What can be said about an instance's answer when it is made."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from salver.nets.network import Network, lower
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.program import Program
from salver.nets.runtime import Runtime
from salver.spec import Property
from salver.spec.truth import Evidence, Truth

MOST_PROGRAMS = 1_000_000
"""Linear programs, some ten thousand a minute, after which an enumeration is given up."""
AGREEMENT = 1e-5
"""Largest difference of single and double precision at a point, relative to the largest output."""


def known_answer(
    graph: Network,
    prop: Property,
    witness: npt.NDArray[np.float64] | None,
    exact: bool = False,
    program: Program | None = None,
    runtime: Runtime | None = None,
) -> tuple[Truth, Evidence]:
    """Exact enumeration where asked for; else a sampled point [n] that replays strictly proves sat.

    What is enumerated counts as sat only where a binary32 point shows it, since nobody could give another.

    Args:
        witness: must satisfy the property in single and in double precision, which must agree.
        program, runtime: of `graph`, where the caller has them.
    """
    if exact:
        # Its imports take longer than many answers that need no enumeration.
        from salver.oracle.enumerate import enumerate_query

        found = enumerate_query(graph, prop, MOST_PROGRAMS)
        known = found.truth is Truth.UNSAT or found.binary32_point(graph, prop) is not None
        return (found.truth, Evidence.ENUMERATED) if known else (Truth.UNKNOWN, Evidence.UNKNOWN)
    if witness is not None and prop.inputs_inside(witness):
        single = (runtime or Runtime(to_bytes(to_model(graph)))).outputs(witness)
        double = (program or lower(graph)).evaluate(witness[None])[0][0]
        agree = np.abs(single - double).max() <= AGREEMENT * max(1.0, float(np.abs(double).max()))
        if agree and prop.outputs_satisfied(single) and prop.outputs_satisfied(double):
            return Truth.SAT, Evidence.PROVED
    return Truth.UNKNOWN, Evidence.UNKNOWN
