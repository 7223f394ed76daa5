"""Units in which Marabou's absolute tolerances do no harm.

Marabou takes a variable whose bounds are within 1e-5 for fixed at the lower one, and an equation over
fixed variables that misses by 1e-10 to 1e-5 for a contradiction: a false `unsat`, seen on every second
query with a value that narrow. Other absolute tolerances give false answers to problems with large
numbers. So each variable is brought to about the same range, by powers of two and thus without rounding.
"""

from __future__ import annotations

import math
from dataclasses import replace

from salver.solvers.marabou.child import LinearQuery

REACHES = (5, 12, 2, 8)
"""Variables reach between 2**(r - 1) and 2**r. An `unsat` in the first unit must hold in all others too.

The failures of the first two are opposite. Large units spare narrow ranges from being taken for fixed; small
ones spare the symbolic bounds, which from 8 on were seen to turn a query with a known point into `unsat`
although it was `sat` over a smaller box. Of 1,000 random queries three were still called `unsat` falsely in
both, with all numbers between 0.05 and 6; none of them was in all four.
"""


LEAST_TERM = 1e-9
"""Share of an equation's largest term below which another is lost in Marabou's tolerances."""
NARROWEST = 1e-4
"""Width of a variable's range, as a share of its largest value, below which it may be taken for fixed."""


def distinguishable(query: LinearQuery) -> bool:
    """Whether Marabou's tolerances can tell the numbers of a problem apart, in any unit.

    Every false `unsat` that came back in all four units had a term of 1e-10 or less of its equation, or a
    condition that leaves a variable 1e-5 of its size. An `unsat` to such a problem is worth nothing.
    """
    reach = [max(-low, high, 0.0) for low, high in zip(query.lower, query.upper, strict=True)]
    for low, high, size in zip(query.lower, query.upper, reach, strict=True):
        if 0.0 < high - low < NARROWEST * size:
            return False
    for coefficients, variables, _ in query.equations:
        terms = [abs(c) * reach[v] for c, v in zip(coefficients, variables, strict=True)]
        if any(0.0 < term < LEAST_TERM * max(terms) for term in terms):
            return False
    return True


def scaled(query: LinearQuery, reach: int) -> LinearQuery:
    """The same problem with every variable in a unit of its own, so that it goes up to 2**`reach`."""
    sizes = [max(-low, high) for low, high in zip(query.lower, query.upper, strict=True)]
    for z, a in query.relus:
        sizes[z] = sizes[a] = max(sizes[z], sizes[a])
    unit = [2.0 ** (math.frexp(size)[1] - reach) if size > 0 else 1.0 for size in sizes]
    return replace(
        query,
        inputs=[(factor * one, shift) for (factor, shift), one in zip(query.inputs, unit, strict=False)],
        lower=[low / one for low, one in zip(query.lower, unit, strict=True)],
        upper=[high / one for high, one in zip(query.upper, unit, strict=True)],
        equations=[_equation(*equation, unit) for equation in query.equations],
        disjunctions=[
            [[(v, relation, constant / unit[v]) for v, relation, constant in part] for part in disjunction]
            for disjunction in query.disjunctions
        ],
    )


def _equation(
    coefficients: list[float], variables: list[int], constant: float, unit: list[float]
) -> tuple[list[float], list[int], float]:
    """In the new units, with a largest coefficient between 1/2 and 1."""
    inside = [coefficient * unit[v] for coefficient, v in zip(coefficients, variables, strict=True)]
    factor = 2.0 ** -math.frexp(max(map(abs, inside)))[1]
    return [factor * coefficient for coefficient in inside], variables, factor * constant
