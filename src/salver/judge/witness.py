"""Replay of witnesses: what a solver's `sat` is worth under the rules of VNN-COMP.

The 2026 rule ignores the outputs a solver prints. Its X is cast to the network's input type and run
through ONNX Runtime on the CPU; only a point inside the box whose outputs satisfy the query exactly
establishes `sat`. Saliency queries get a second opinion: the gradient of the original network by
automatic differentiation, which shares no code with the gradient network.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict

from salver.core.errors import SalverError
from salver.core.records import Record
from salver.families.instance import Facts
from salver.judge.judgement import WitnessVerdict
from salver.judge.loaded import LoadedInstance
from salver.nets.network import Network
from salver.nets.onnx.file import self_contained
from salver.spec import Property

Array = npt.NDArray[np.float64]
Gradient = Literal["none", "agrees", "differs"]

_VERDICT_LINE = re.compile(r"\A\s*(?:sat|violated)\s*(?:\n|\Z)", re.IGNORECASE)
_PAIR = re.compile(r"\(\s*([A-Za-z]\w*?)_(\d{1,9})\s+([^\s()]+)\s*\)", re.ASCII)
_HEADER = re.compile(
    r"^[ \t]*([A-Za-z_]\w*)[ \t]+([A-Za-z]\w*)[ \t]*\[([\d, \t]*)\][ \t]*$", re.MULTILINE | re.ASCII
)
# Digits behind an optional point would be tried in every division: quadratic in the token's length.
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?\Z", re.ASCII)
_MOST_DIGITS = 2000
_ONNX_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}


class MalformedWitness(SalverError):  # noqa: N818 - named after the verdict it leads to
    """The text is no assignment to the inputs in either form of VNN-LIB."""

    def __init__(self, what: str) -> None:
        super().__init__(what, "witness", "print it in the VNN-LIB 1.0 or 2.0 form")


INPUT_TOLERANCE = 1e-4
"""Distance to the box, and to the ball, up to which a point is still credited."""
MAP_TOLERANCE = 1e-4
"""Largest distance of an entry of a map from its definition, relative to the map's largest entry."""


class Replay(Record):
    """A witness after its replay.

    Attributes:
        verdict: worth of the witness.
        point: the input as replayed, after the cast to the network's type [n]; empty when unparsed.
        outputs: outputs of ONNX Runtime there [m + s]; empty when the network was not run.
        gradient: the second opinion, see `original_gradient`.
        detail: what is wrong with it, in one clause; empty when it is correct.
    """

    # A rejected point may be infinite after the cast; as JSON it must come back the same.
    model_config = ConfigDict(ser_json_inf_nan="constants")

    verdict: WitnessVerdict
    point: tuple[float, ...] = ()
    outputs: tuple[float, ...] = ()
    gradient: Gradient = "none"
    detail: str = ""


def parse_witness(text: str, inputs: int, name: str = "X") -> Array:
    """Reads X from a witness in the form of VNN-LIB 1.0, `((X_0 0.1) ...)`, or 2.0, `X float32 [1,2]`.

    A leading `sat` line and any spacing are accepted; entries of other variables are not looked at.

    Args:
        text: the witness as the solver printed it.
        inputs: n, the number of input entries.
        name: of the input, where it is not X.

    Returns:
        X as float64 [n], row-major.

    Raises:
        MalformedWitness: no assignment, an entry of X missing, given twice, out of range or not finite.
    """
    body = _VERDICT_LINE.sub("", text, count=1).strip()
    if not body:
        raise MalformedWitness("is empty")
    entries = _flat_entries(body, name) if body.startswith("(") else _tensor_entries(body, name)
    values: dict[int, float] = {}
    for index, token in entries:
        if index >= inputs:
            raise MalformedWitness(f"{name}_{index} is beyond the {inputs} entries of {name}")
        if index in values:
            raise MalformedWitness(f"{name}_{index} is given twice")
        values[index] = _number(token, f"{name}_{index}")
    missing = next((index for index in range(inputs) if index not in values), None)
    if missing is not None:
        raise MalformedWitness(f"{name}_{missing} is missing")
    return np.array([values[index] for index in range(inputs)], dtype=np.float64)


def replay(onnx: Path, prop: Property, text: str | None) -> Replay:
    """Replays a witness on the network of its instance.

    Args:
        onnx: the instance's network, X [1, n] -> Y [1, m + s].
        prop: the query; its box, its ball and its output condition decide.
        text: the witness as printed; None when there was none.

    Returns:
        `correct`: in box and ball exactly, outputs satisfied, no tolerance used. `up_to_tolerance`: credited,
        but proves nothing. `uncheckable`: the checker could not run, which is not held against the solver.
    """
    if text is None or is_empty(text):
        return NO_WITNESS
    try:
        stated = parse_witness(text, len(prop.input_lower))
    except MalformedWitness as error:
        return Replay(verdict=WitnessVerdict.MALFORMED, detail=error.what)
    try:
        point, outputs = _run(onnx, stated)
    except Exception as error:  # ONNX Runtime raises a dozen unrelated types; none is the solver's fault
        return not_run(error)
    if outputs.shape != (prop.output_count,):
        what = f"the network has {outputs.size} outputs, the query {prop.output_count}"
        return Replay(verdict=WitnessVerdict.UNCHECKABLE, detail=what)
    verdict, detail = _grade(prop, point, outputs)
    return Replay(verdict=verdict, point=tuple(point), outputs=tuple(outputs), detail=detail)


NO_WITNESS = Replay(verdict=WitnessVerdict.MISSING, detail="the solver gave no witness")


def is_empty(text: str) -> bool:
    """Whether a witness says nothing but that there is one."""
    return not _VERDICT_LINE.sub("", text, count=1).strip()


def not_run(error: Exception) -> Replay:
    """The replay that could not be done."""
    first = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return Replay(verdict=WitnessVerdict.UNCHECKABLE, detail=f"ONNX Runtime could not run it: {first}")


def second_opinion(replayed: Replay, instance: LoadedInstance) -> Replay:
    """The same replay with `gradient` filled in, where the witness is credited and the check applies.

    A network that cannot be read leaves `none` with the reason in `detail`.
    """
    facts = instance.record.facts
    if replayed.verdict not in (WitnessVerdict.CORRECT, WitnessVerdict.UP_TO_TOLERANCE):
        return replayed
    if facts is None or facts.explanation is None:
        return replayed
    try:
        gradient = original_gradient(instance.classifier, facts, replayed.point, replayed.outputs)
    except SalverError as error:
        detail = "; ".join(filter(None, (replayed.detail, f"no second opinion: {error}")))
        return replayed.model_copy(update={"detail": detail})
    return replayed.model_copy(update={"gradient": gradient})


def original_gradient(
    classifier: Network,
    facts: Facts,
    x: Sequence[float] | Array,
    outputs: Sequence[float] | Array,
) -> Gradient:
    """Compares a replayed map with the original network's, from its definition in float64.

    Args:
        classifier: the network that the instance was made from.
        facts: of the instance; they say which map it is.
        x: the witness [n].
        outputs: replayed outputs [m + s]: m logits, then the map, then what is derived from it, which is not
            looked at.

    Returns:
        `agrees` or `differs`; `none` when the query is about the class alone, or the map has another size.

    Raises:
        SalverError: the method does not take the network.
    """
    if facts.explanation is None:
        return "none"
    found = facts.map_in(np.asarray(outputs, np.float64))
    expected = facts.explanation.reference(classifier, np.asarray(x, np.float64)[None])[0]
    if found.shape != expected.shape:
        return "none"
    scale = float(np.abs(expected).max(initial=0.0))
    return "agrees" if bool((np.abs(found - expected) <= MAP_TOLERANCE * scale).all()) else "differs"


def _run(onnx: Path, x: Array) -> tuple[Array, Array]:
    import onnxruntime

    data = self_contained(onnx)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    (source,) = session.get_inputs()
    shape = [size if isinstance(size, int) else 1 for size in source.shape]
    with np.errstate(over="ignore"):
        point = x.astype(_ONNX_TYPES[source.type])
    (outputs, *_) = session.run(None, {source.name: point.reshape(shape)})
    return point.astype(np.float64), np.asarray(outputs, dtype=np.float64).reshape(-1)


def _grade(prop: Property, point: Array, outputs: Array) -> tuple[WitnessVerdict, str]:
    apart = {"box": prop.outside_box(point), "ball": prop.outside_ball(point)}
    region = max(apart, key=lambda name: apart[name])
    outside = apart[region]
    if not outside <= INPUT_TOLERANCE:
        return WitnessVerdict.INVALID, f"X lies {outside:.3g} outside the {region}"
    if not prop.outputs_satisfied(outputs):
        margin = float(prop.margin(outputs))
        return WitnessVerdict.INVALID, f"the replayed outputs miss the condition by {-margin:.3g}"
    if outside > 0:
        detail = f"X lies {outside:.3g} outside the {region}, within the tolerance"
        return WitnessVerdict.UP_TO_TOLERANCE, detail
    return WitnessVerdict.CORRECT, ""


def _flat_entries(body: str, name: str) -> Iterator[tuple[int, str]]:
    rest = _PAIR.sub("", body).split()
    if "".join(rest) not in ("()", ""):
        raise MalformedWitness(f"is no list of (X_i value) pairs near {rest[0][:40]!r}")
    return ((int(i), token) for variable, i, token in _PAIR.findall(body) if variable == name)


def _tensor_entries(body: str, name: str) -> Iterator[tuple[int, str]]:
    headers = list(_HEADER.finditer(body))
    if not headers or headers[0].start() != 0:
        raise MalformedWitness(f"starts with {body[:40]!r} instead of `X type [shape]`")
    ends = [header.start() for header in headers[1:]] + [len(body)]
    blocks = [(h[3], body[h.end() : end]) for h, end in zip(headers, ends, strict=True) if h[1] == name]
    if len(blocks) > 1:
        raise MalformedWitness(f"{name} is given twice")
    for shape, block in blocks:
        tokens = block.split()
        sizes = shape.replace(",", " ").split()
        if any(len(size) > 9 for size in sizes):
            raise MalformedWitness(f"{name} has an impossible shape [{shape[:40]}]")
        declared = math.prod(map(int, sizes))
        if declared != len(tokens):
            raise MalformedWitness(f"{name} has shape [{shape[:40]}] but {len(tokens)} values")
        yield from enumerate(tokens)


def _number(token: str, where: str) -> float:
    value = float(token) if len(token) <= _MOST_DIGITS and _NUMBER.match(token) else math.nan
    if not math.isfinite(value):
        raise MalformedWitness(f"{where} is {token[:40]!r}, not a finite number")
    return value
