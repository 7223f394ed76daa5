"""The oracle for small networks: every activation region is visited and solved as a linear program.

With the sign of every pre-activation fixed, ReLUs, masks, gates and absolute values are affine in x, and so
are products, one factor of which is a constant there. So a region is a polytope and a query on it is a linear
program. The cost is exponential in the number of neurons that change sign over the box; meant for some tens
of neurons, as ground truth for the solvers.

The strict mask 1[z > 0] makes active sides open. They are decided with a margin t: z >= t on active
neurons, z <= 0 on inactive ones, slack >= t on every atom. Where |t| <= `TOLERANCE`, which is as far as a
floating-point linear program can tell, the region is decided in rational arithmetic (`thin`) if the network
is at hand and small; else the answer is reported as unknown, never guessed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from scipy import optimize

from salver.nets.network import Network
from salver.nets.program import (
    AbsBlock,
    FactorBlock,
    GateBlock,
    MaskBlock,
    ProductBlock,
    Program,
    ReluBlock,
)
from salver.oracle.affine_map import AffineMap, composed, slack_rows, stacked
from salver.oracle.thin import decide_region
from salver.spec.property import Atom, Clause, Property
from salver.spec.truth import Truth

Array = npt.NDArray[np.float64]

TOLERANCE = 1e-6
"""Ten times the primal feasibility tolerance of the linear programs."""


@dataclass(frozen=True, eq=False)
class Enumeration:
    """What visiting every region says about a query.

    Attributes:
        truth: `sat`, `unsat`, or `unknown` when the answer hangs on a margin within `TOLERANCE`.
        witness: float64 [n], the satisfying point with the largest clearance found; only for `sat`.
        margin: the largest t over all regions, at most 1; for `unsat` an upper bound on it, at most
            `TOLERANCE`.
        clearance: how far the witness is from any change of sign and from the edge of a clause; a
            witness with a clearance well above single precision survives replay. 0 without a witness.
        regions: number of activation regions of the box (those with a margin above `TOLERANCE`).
        thin: how many linear programs had to be decided in rational arithmetic.
    """

    truth: Truth
    witness: Array | None
    margin: float
    clearance: float
    regions: int
    thin: int = 0


@dataclass(frozen=True, eq=False)
class DeltaStar:
    """The smallest change of the saliency that comes with a violation, +inf when there is none.

    Attributes:
        value: delta*, exact up to the linear programs' tolerance.
        witness: float64 [n] attaining it (in the closure of its region), None when there is none.
        regions: number of activation regions of the box.
    """

    value: float
    witness: Array | None
    regions: int


@dataclass(frozen=True, eq=False)
class _Region:
    """A region, possibly still undecided in later neurons.

    Attributes:
        lower, upper: the input box [n].
        active: rows that must be positive; inactive: rows that must be at most 0.
        values: block number -> its affine map on this region.
        signs: tensor of the network -> 1 or 0 per entry, for every tensor whose signs are fixed.
        point: x [n] with the largest margin; margin: that t.
    """

    lower: Array
    upper: Array
    active: AffineMap
    inactive: AffineMap
    values: Mapping[int, AffineMap]
    point: Array
    margin: float
    signs: Mapping[str, Array] = field(default_factory=dict)


def enumerate_query(program: Program, prop: Property, network: Network | None = None) -> Enumeration:
    """Decides a query by visiting every activation region of its box.

    Args:
        network: what `program` was lowered from; with it thin regions are decided exactly.

    Raises:
        ArithmeticError: a linear program ended neither solved nor infeasible.
        ValueError: the query is over a ball, of which linear programs know nothing.
    """
    if prop.ball is not None:
        raise ValueError("answers are enumerated over boxes only")
    regions, best = 0, -np.inf
    witness, clearance = None, 0.0
    thin: list[tuple[Truth, Array | None]] = []
    for region in _regions(program, prop.input_lower, prop.input_upper):
        regions += region.margin > TOLERANCE
        output = composed(program.output, region.values)
        for atoms in _combinations(prop.clauses):
            rows = slack_rows(output, atoms)
            ceiling = float(_greatest(region, rows).min(initial=1.0))
            if ceiling < -TOLERANCE:
                best = max(best, ceiling)
                continue
            margin, point = _largest_margin(region, rows, two_sided=False)
            best = max(best, margin)
            if abs(margin) <= TOLERANCE:
                thin.append(_thin(network, prop, region, atoms))
            if margin <= TOLERANCE or point is None:
                continue
            _, inner = _largest_margin(region, rows, two_sided=True)
            for candidate in (point, inner):
                distance = -1.0 if candidate is None else _clearance(program, prop, candidate)
                if witness is None or distance > clearance:
                    witness, clearance = candidate, max(distance, 0.0)
    shown = next((x for found, x in thin if found is Truth.SAT), None)
    if witness is not None or shown is not None:
        return Enumeration(
            Truth.SAT, shown if witness is None else witness, best, clearance, regions, len(thin)
        )
    open_ = any(found is Truth.UNKNOWN for found, _ in thin)
    return Enumeration(Truth.UNKNOWN if open_ else Truth.UNSAT, None, best, clearance, regions, len(thin))


def _thin(
    network: Network | None, prop: Property, region: _Region, atoms: tuple[Atom, ...]
) -> tuple[Truth, Array | None]:
    return (Truth.UNKNOWN, None) if network is None else decide_region(network, prop, region.signs, atoms)


def delta_star(
    program: Program,
    lower: Array,
    upper: Array,
    reference: Array,
    saliency: npt.NDArray[np.intp],
    clauses: tuple[Clause, ...],
) -> DeltaStar:
    """The smallest delta with an x in the box, |Y[saliency] - reference|_inf <= delta, and all clauses true.

    This is the delta* of `vg_box` queries: with `clauses` = "another class wins", the explanation is
    (eps, delta)-robust exactly for delta < delta*. Active neurons are kept at z >= `TOLERANCE`.

    Args:
        program: the gradient network.
        lower, upper: input box [n].
        reference: saliency at the reference point [s].
        saliency: indices of the saliency entries among the outputs [s].
        clauses: condition on the remaining outputs.

    Raises:
        ArithmeticError: a linear program ended neither solved nor infeasible.
    """
    regions, best, witness = 0, np.inf, None
    for region in _regions(program, lower, upper):
        if region.margin <= TOLERANCE:
            continue
        regions += 1
        output = composed(program.output, region.values)
        change = AffineMap(output.matrix[saliency], output.constant[saliency] - reference)
        for atoms in _combinations(clauses):
            delta, point = _smallest_change(region, slack_rows(output, atoms), change)
            if delta < best:
                best, witness = delta, point
    return DeltaStar(best, witness, regions)


def _regions(program: Program, lower: Array, upper: Array) -> Iterator[_Region]:
    """Every region of the box whose margin is not below -TOLERANCE."""
    size = program.input_size
    none = AffineMap(np.zeros((0, size)), np.zeros(0))
    values = {-1: AffineMap(np.eye(size), np.zeros(size))}
    whole = _Region(lower, upper, none, none, values, (lower + upper) / 2, 1.0)
    return _from_block(program, whole, 0, {})


def _from_block(
    program: Program, region: _Region, number: int, decided: Mapping[int, tuple[AffineMap, Array]]
) -> Iterator[_Region]:
    """Regions inside `region`, of which the blocks before `number` are decided."""
    if number == len(program.blocks):
        yield region
        return
    block = program.blocks[number]
    if isinstance(block, GateBlock):
        mask, gated = region.values[block.mask].constant, composed(block.value, region.values)
        value = AffineMap(mask[:, None] * gated.matrix, mask * gated.constant)
        yield from _from_block(program, _with(region, number, value), number + 1, decided)
        return
    if isinstance(block, FactorBlock | ProductBlock):
        value = composed(block.value, region.values)
        if isinstance(block, ProductBlock):
            factor = region.values[block.factor]
            assert not factor.matrix.any(), "the signs decide a factor"
            value = AffineMap(factor.constant[:, None] * value.matrix, factor.constant * value.constant)
        yield from _from_block(program, _with(region, number, value), number + 1, decided)
        return
    if isinstance(block, AbsBlock):
        source = composed(block.value, region.values)
        for part, on in _all_signs(region, source):
            value = AffineMap((2 * on - 1)[:, None] * source.matrix, (2 * on - 1) * source.constant)
            inner = _with(part, number, value, {block.source: on})
            yield from _from_block(program, inner, number + 1, decided)
        return
    if block.pre in decided:
        z, on = decided[block.pre]
        value = _signed(block, z, on)
        yield from _from_block(program, _with(region, number, value), number + 1, decided)
        return
    z = composed(program.pre[block.pre].affine, region.values)
    for part, on in _all_signs(region, z):
        inner = _with(part, number, _signed(block, z, on), {program.pre[block.pre].name: on})
        yield from _from_block(program, inner, number + 1, {**decided, block.pre: (z, on)})


def _signed(block: ReluBlock | MaskBlock, z: AffineMap, on: Array) -> AffineMap:
    """The block's affine map once each neuron is on (1) or off (0)."""
    if isinstance(block, MaskBlock):
        return AffineMap(np.zeros_like(z.matrix), on)
    return AffineMap(on[:, None] * z.matrix, on * z.constant)


def _all_signs(region: _Region, z: AffineMap) -> Iterator[tuple[_Region, Array]]:
    """As `_signs` for all rows: those that have one sign on the whole box are not branched on."""
    greatest, least = _greatest(region, z), -_greatest(region, AffineMap(-z.matrix, -z.constant))
    sure_on, sure_off = least > TOLERANCE, greatest < -TOLERANCE
    # No margin exceeds 1, so rows further from 0 than that never bind; constant rows are no conditions.
    moving = z.matrix.any(axis=1)
    near_on, near_off = moving & sure_on & (least <= 1.0), moving & sure_off & (greatest >= -1.0)
    part = replace(
        region,
        active=stacked(region.active, AffineMap(z.matrix[near_on], z.constant[near_on])),
        inactive=stacked(region.inactive, AffineMap(z.matrix[near_off], z.constant[near_off])),
    )
    if near_on.any():
        margin, point = _largest_margin(part, None, two_sided=False)
        if point is None or margin < -TOLERANCE:
            return
        part = replace(part, point=point, margin=margin)
    branched = np.flatnonzero(~(sure_on | sure_off))
    for found, on in _signs(part, AffineMap(z.matrix[branched], z.constant[branched]), 0, ()):
        signs = sure_on.astype(np.float64)
        signs[branched] = on
        yield found, signs


def _signs(region: _Region, z: AffineMap, row: int, on: tuple[float, ...]) -> Iterator[tuple[_Region, Array]]:
    """Parts of the region on which every row of z has one sign, with the signs as 1 and 0."""
    if row == len(z.constant):
        yield region, np.array(on)
        return
    weights, constant = z.matrix[row], z.constant[row]
    if not weights.any():
        yield from _signs(region, z, row + 1, (*on, float(constant > 0)))
        return
    one = AffineMap(weights[None], np.array([constant]))
    for state in (1.0, 0.0):
        if _greatest(region, one if state else AffineMap(-one.matrix, -one.constant))[0] < -TOLERANCE:
            continue
        part = (
            replace(region, active=stacked(region.active, one))
            if state
            else replace(region, inactive=stacked(region.inactive, one))
        )
        if state or weights @ region.point + constant > 0:
            margin, point = _largest_margin(part, None, two_sided=False)
            if point is None or margin < -TOLERANCE:
                continue
            part = replace(part, point=point, margin=margin)
        yield from _signs(part, z, row + 1, (*on, state))


def _greatest(region: _Region, rows: AffineMap) -> Array:
    """The largest value of each row over the whole box."""
    spread = np.abs(rows.matrix) @ ((region.upper - region.lower) / 2)
    return np.asarray(rows.matrix @ ((region.lower + region.upper) / 2) + rows.constant + spread)


def _largest_margin(region: _Region, slacks: AffineMap | None, two_sided: bool) -> tuple[float, Array | None]:
    """The largest t <= 1 and its x with active rows >= t, slacks >= t and inactive rows <= 0 (or <= -t)."""
    active = region.active if slacks is None else stacked(region.active, slacks)
    size = len(region.lower)
    if not len(active.constant) and not (two_sided or len(region.inactive.constant)):
        return 1.0, region.point
    edge = np.full(len(region.inactive.constant), float(two_sided))
    matrix = np.vstack(
        [
            np.hstack([-active.matrix, np.ones((len(active.constant), 1))]),
            np.hstack([region.inactive.matrix, edge[:, None]]),
        ]
    )
    objective = np.zeros(size + 1)
    objective[-1] = -1.0
    return _solve(
        region, objective, matrix, np.concatenate([active.constant, -region.inactive.constant]), 1.0
    )


def _smallest_change(region: _Region, slacks: AffineMap, change: AffineMap) -> tuple[float, Array | None]:
    """The smallest d and its x with |change| <= d on the region, slacks >= 0; (inf, None) if empty."""
    size, rows = len(region.lower), len(change.constant)
    hard = np.vstack([-region.active.matrix, -slacks.matrix, region.inactive.matrix])
    soft = np.vstack([change.matrix, -change.matrix])
    matrix = np.block(
        [[hard, np.zeros((len(hard), 1))], [soft, -np.ones((2 * rows, 1))]],
    )
    limits = [region.active.constant - TOLERANCE, slacks.constant, -region.inactive.constant]
    objective = np.zeros(size + 1)
    objective[-1] = 1.0
    value, point = _solve(
        region, objective, matrix, np.concatenate([*limits, -change.constant, change.constant]), np.inf
    )
    return (np.inf, None) if point is None else (-value, point)


def _solve(
    region: _Region, objective: Array, matrix: Array, limit: Array, top: float
) -> tuple[float, Array | None]:
    """min objective'(x, s) with matrix (x, s) <= limit, x in the box, s <= top: (-optimum, x)."""
    bounds = np.column_stack([np.append(region.lower, -np.inf), np.append(region.upper, top)])
    result = optimize.linprog(objective, matrix, limit, bounds=bounds, method="highs")
    if result.status == 2:
        return -np.inf, None
    if result.status != 0:
        raise ArithmeticError(f"linear program of a region: {result.message}")
    return -float(result.fun), np.clip(result.x[:-1], region.lower, region.upper)


def _with(
    region: _Region, number: int, value: AffineMap, signs: Mapping[str, Array] = MappingProxyType({})
) -> _Region:
    return replace(region, values={**region.values, number: value}, signs={**region.signs, **signs})


def _combinations(clauses: tuple[Clause, ...]) -> Iterator[tuple[Atom, ...]]:
    """One conjunction from every clause, as one flat conjunction."""
    for choice in itertools.product(*clauses):
        yield tuple(itertools.chain.from_iterable(choice))


def _clearance(program: Program, prop: Property, x: Array) -> float:
    """Least |z| where a value may jump, and clause slack, at x by plain evaluation of the network."""
    outputs, zs, _ = program.evaluate(x)
    jumping = (zs[number] for number in program.jumps if zs[number].size)
    return float(min([np.abs(z).min() for z in jumping] + [prop.margin(outputs)[0]]))
