"""Input, saliency map and witness of an instance as numbers to be drawn, computed by ONNX Runtime.

Nothing here judges: a witness is drawn as it was printed, with what the query's network says about it.
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from salver.errors import SalverError
from salver.judge.views import centre_of_box
from salver.judge.witness import parse_witness
from salver.model import Claim, Facts, Instance, JudgedRun, WitnessVerdict
from salver.nets.onnx_file import refuse_other_files
from salver.nets.runtime import Runtime

Array = npt.NDArray[np.float64]

MOST_PICTURES = 500
"""Instances with pictures in a page."""
MOST_NUMBERS = 400_000
"""Pixels of all pictures in a page together."""
_BOUND = re.compile(rb"^\(assert \((<=|>=) X_(\d{1,9}) ([^\s()]+)\)\)\s*$", re.MULTILINE)
_MOST_BYTES = 1 << 26


@dataclass(frozen=True)
class Drawn:
    """A point [n], its saliency map [s], and the class the network gives it."""

    x: tuple[float, ...]
    map: tuple[float, ...]
    label: int


@dataclass(frozen=True)
class Pictures:
    """What is drawn of an instance.

    Attributes:
        shape, map_shape: [channels, height, width] of the input and of the map.
        xhat: the explained point; `exact` tells whether it follows from the box, else it is the box's centre.
        witness: the point of `solver` with its verdict, where some solver has one.
    """

    shape: tuple[int, int, int]
    map_shape: tuple[int, int, int]
    xhat: Drawn
    exact: bool
    witness: Drawn | None = None
    solver: str = ""
    verdict: str = ""


def pictures(
    run_dir: Path, set_path: Path, judged: Sequence[JudgedRun], instances: Mapping[str, Instance]
) -> dict[str, Pictures]:
    """Pictures by instance id, in the order of `judged` until a limit is reached.

    What cannot be read or run has no picture. The witness shown is the best one, then the fastest.
    """
    shown = _best_witnesses(judged)
    networks = _Networks(set_path)
    found: dict[str, Pictures] = {}
    numbers = tried = 0
    for key in dict.fromkeys(run.run.instance_id for run in judged):
        instance = instances.get(key)
        if instance is None:
            continue
        numbers += 2 * (math.prod(instance.facts.input_shape) + instance.facts.saliencies)
        tried += 1
        if tried > MOST_PICTURES or numbers > MOST_NUMBERS:
            break
        try:
            found[key] = _pictures(run_dir, set_path, instance, shown.get(key), networks)
        except (SalverError, OSError, EOFError, ValueError, zlib.error):
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


class _Networks:
    """Loaded graphs by path; a set has few of them."""

    def __init__(self, set_path: Path) -> None:
        self._set_path = set_path
        self._loaded: dict[str, Runtime] = {}

    def draw(self, instance: Instance, x: Array) -> Drawn:
        facts = instance.facts
        if instance.onnx not in self._loaded:
            path = self._set_path / instance.onnx
            refuse_other_files(path)
            try:
                self._loaded[instance.onnx] = Runtime(path.read_bytes())
            except RuntimeError as error:
                raise ValueError(str(error)) from error
        try:
            outputs = self._loaded[instance.onnx].outputs(x)
        except RuntimeError as error:
            raise ValueError(str(error)) from error
        derived = int(facts.options.get("extra_outputs", 0))
        saliencies = outputs[facts.logits : outputs.size - derived]
        label = int(outputs[: facts.logits].argmax())
        return Drawn(_rounded(x), _rounded(saliencies), label)


def _pictures(
    run_dir: Path, set_path: Path, instance: Instance, shown: JudgedRun | None, networks: _Networks
) -> Pictures:
    facts = instance.facts
    low, high = _box(set_path / f"{instance.vnnlib}.gz", math.prod(facts.input_shape))
    x, exact = centre(low, high, facts)
    xhat = networks.draw(instance, x)
    witness, solver, verdict = None, "", ""
    if shown is not None and shown.run.witness is not None:
        text = (run_dir / shown.run.witness).read_text(errors="replace")
        point = parse_witness(text, x.size)
        witness = networks.draw(instance, point)
        solver, verdict = shown.run.solver, str(shown.judgement.witness)
    shapes = _image_shape(facts.input_shape), _map_shape(len(xhat.map), facts.input_shape)
    return Pictures(*shapes, xhat, exact, witness, solver, verdict)


def _box(path: Path, inputs: int) -> tuple[Array, Array]:
    """The bounds of X, of which an instance set writes one a line; ValueError where one is missing."""
    with gzip.open(path) as stream:
        text = stream.read(_MOST_BYTES)
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
        numbers rounded outward, so it is rounded to what they can tell: a black pixel is 0 and not 5e-9.
    """
    x = centre_of_box(low, high, facts)
    least, most = facts.clip or (-math.inf, math.inf)
    again = np.clip(x - facts.epsilon, least, most), np.clip(x + facts.epsilon, least, most)
    scale = 1e-5 * max(1.0, float(np.abs(x).max(initial=0.0)))
    fits = float(np.abs(np.subtract(again, (low, high))).max(initial=0.0)) <= scale
    uncut = (low > least) | (high < most)
    return (x, True) if fits and uncut.all() else ((low + high) / 2, False)


def _image_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    if len(shape) == 2:
        return 1, shape[0], shape[1]
    return 1, 1, math.prod(shape)


def _map_shape(size: int, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The input's shape where the map has an entry per input or per pixel, a square, or else one row."""
    channels, height, width = _image_shape(shape)
    if size == channels * height * width:
        return channels, height, width
    if size == height * width:
        return 1, height, width
    side = math.isqrt(size)
    return (1, side, side) if side * side == size and side > 2 else (1, 1, size)


def _rounded(values: Array) -> tuple[float, ...]:
    """Four significant digits: more than a screen shows; no NaN or infinity, which JSON has not."""
    finite = values if np.isfinite(values).all() else np.nan_to_num(values, posinf=3e38, neginf=-3e38)
    return tuple(map(float, np.char.mod("%.4g", finite).tolist()))
