"""Input, saliency map and witness of an instance as numbers to be drawn, computed by ONNX Runtime.

Nothing here judges: a witness is drawn as it was printed, with what the query's network says about it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from salver.core.confined import unpack_inside
from salver.core.errors import SalverError
from salver.families.instance import Facts
from salver.judge.judgement import JudgedRun, WitnessVerdict
from salver.judge.loaded import EntryNames, LoadedInstance, StoredRun
from salver.judge.maps import MapAtPoint, map_at, map_at_xhat, map_shape
from salver.judge.views import centre_of_box
from salver.judge.witness import parse_witness
from salver.report.axes import channels_first
from salver.runners.answers import Claim

Array = npt.NDArray[np.float64]

MOST_PICTURES = 500
"""Instances with pictures in a page."""
MOST_NUMBERS = 400_000
"""Pixels of all pictures in a page together."""
_BOUND = re.compile(rb"^\(assert \((<=|>=) X_(\d{1,9}) ([^\s()]+)\)\)\s*$", re.MULTILINE)
_MOST_BYTES = 1 << 26


@dataclass(frozen=True)
class DrawnPoint:
    """A point [n], its saliency map [s] (empty where the query has none), the class the network gives it,
    and the map's top-k set where the query is about ranks."""

    x: tuple[float, ...]
    map: tuple[float, ...]
    label: int
    top: tuple[int, ...]


@dataclass(frozen=True)
class Pictures:
    """What is drawn of an instance.

    Attributes:
        shape, map_shape: [channels, height, width] of the input and of the map.
        xhat: the explained point; `exact` tells whether it follows from the box, else it is the box's centre.
        names: of entries and classes, to show.
        witness: the point of `solver` with its verdict, where some solver has one.
        moved, map_moved: largest change of an entry of the input and of the map, from xhat to the witness.
    """

    shape: tuple[int, int, int]
    map_shape: tuple[int, int, int]
    xhat: DrawnPoint
    exact: bool
    names: EntryNames
    witness: DrawnPoint | None = None
    solver: str = ""
    verdict: str = ""
    moved: float = 0.0
    map_moved: float = 0.0


def pictures(run: StoredRun, judged: Sequence[JudgedRun]) -> dict[str, Pictures]:
    """Pictures by instance id, in the order of `judged` until a limit is reached.

    What cannot be read or run has no picture, nor has an instance of which nothing but its files is known.
    The witness shown is the best one, then the fastest.
    """
    shown = _best_witnesses(judged)
    found: dict[str, Pictures] = {}
    numbers = tried = 0
    for key in dict.fromkeys(one.run.instance_id for one in judged):
        instance = run.instances[key]
        if instance.record.facts is None:
            continue
        numbers += 2 * (math.prod(instance.facts.input_shape) + instance.facts.saliencies)
        tried += 1
        if tried > MOST_PICTURES or numbers > MOST_NUMBERS:
            break
        try:
            found[key] = _pictures(run, instance, shown.get(key))
        except (SalverError, OSError, ValueError):
            continue
    return found


def _best_witnesses(judged: Sequence[JudgedRun]) -> dict[str, JudgedRun]:
    worth = {WitnessVerdict.CORRECT: 0, WitnessVerdict.UP_TO_TOLERANCE: 1, WitnessVerdict.INVALID: 2}
    best: dict[str, JudgedRun] = {}
    for run in judged:
        if run.run.claim is not Claim.SAT or run.judgement.witness not in worth or run.run.witness is None:
            continue
        known = best.get(run.run.instance_id)
        if known is None or _rank(run, worth) < _rank(known, worth):
            best[run.run.instance_id] = run
    return best


def _rank(run: JudgedRun, worth: Mapping[WitnessVerdict, int]) -> tuple[int, float]:
    return worth[run.judgement.witness], run.run.wall_s


def _pictures(run: StoredRun, instance: LoadedInstance, shown: JudgedRun | None) -> Pictures:
    facts = instance.facts
    text = unpack_inside(instance.within.folder, f"{instance.record.vnnlib}.gz", _MOST_BYTES)
    low, high = _box(text, math.prod(facts.input_shape))
    x, exact = centre(low, high, facts)
    at_xhat = map_at_xhat(instance, x)
    shape = map_shape(instance) if facts.map_size else (0,)
    sides = facts.input_shape, shape
    first, second = map(_three, sides)
    found = Pictures(first, second, _drawn(x, at_xhat, *sides), exact, instance.names)
    witness = None if shown is None else run.witness(shown.run)
    if shown is None or witness is None:
        return found
    point = parse_witness(witness, x.size)
    at_witness = map_at(instance, point)
    return replace(
        found,
        witness=_drawn(point, at_witness, *sides),
        solver=shown.run.solver,
        verdict=str(shown.judgement.witness),
        moved=_distance(point, x),
        map_moved=_distance(at_witness.map, at_xhat.map),
    )


def _distance(one: Array, other: Array) -> float:
    """Largest difference of two entries, to five digits; 0 of no entries."""
    return _rounded(np.abs(one - other).max(initial=0.0)[None])[0]


def _drawn(x: Array, at: MapAtPoint, shape: tuple[int, ...], map_shape: tuple[int, ...]) -> DrawnPoint:
    image, shown = _in_order(x, shape), _in_order(at.map, map_shape)
    place = np.argsort(_in_order(np.arange(float(at.map.size)), map_shape))
    return DrawnPoint(_rounded(image), _rounded(shown), at.label, tuple(place[list(at.top)].tolist()))


def _in_order(values: Array, shape: tuple[int, ...]) -> Array:
    """Values as the page takes them: of an image channel by channel."""
    return channels_first(values, shape).ravel() if len(shape) == 3 else values


def _box(text: bytes, inputs: int) -> tuple[Array, Array]:
    """The bounds of X, of which an instance set writes one a line; ValueError where one is missing."""
    low, high = np.full(inputs, np.nan), np.full(inputs, np.nan)
    for relation, index, number in _BOUND.findall(text):
        side = low if relation == b">=" else high
        if int(index) < inputs:
            side[int(index)] = float(number)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise ValueError("a bound of X is missing")
    return low, high


def centre(low: Array, high: Array, facts: Facts) -> tuple[Array, bool]:
    """xhat [n] from its box: epsilon away from each side that the clipping did not move.

    Returns:
        The point, and whether it gives this box; the box's middle where it does not. Bounds are binary32
        numbers rounded outward, so what they cannot tell from zero is zero: a black pixel is 0 and not 5e-9.
    """
    x = centre_of_box(low, high, facts)
    if facts.xhat is not None:
        return x, True
    widest = float(np.maximum(np.abs(low), np.abs(high)).max(initial=0.0))
    x[np.abs(x) <= 2.0**-23 * widest] = 0.0
    least, most = facts.limits
    again = np.clip(x - facts.epsilon, least, most), np.clip(x + facts.epsilon, least, most)
    scale = 1e-5 * max(1.0, float(np.abs(x).max(initial=0.0)))
    fits = float(np.abs(np.subtract(again, (low, high))).max(initial=0.0)) <= scale
    uncut = (low > least) | (high < most)
    return (x, True) if fits and uncut.all() else ((low + high) / 2, False)


def _three(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """As channels, height, width; what has no rows is one row."""
    if len(shape) == 3:
        channels, height, width = channels_first(np.empty(math.prod(shape)), shape).shape
        return channels, height, width
    if len(shape) == 2:
        return 1, shape[0], shape[1]
    return 1, 1, math.prod(shape)


def _rounded(values: Array) -> tuple[float, ...]:
    """Five significant digits, so that a difference has three; no NaN or infinity, which JSON has not."""
    finite = values if np.isfinite(values).all() else np.nan_to_num(values, posinf=3e38, neginf=-3e38)
    return tuple(map(float, np.char.mod("%.5g", finite).tolist()))
