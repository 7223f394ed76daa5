"""Replay of witnesses of queries of which nothing is known but their text: whatever that says is checked.

The rule is that of `salver.judge.witness`. Comparisons are exact, over the inputs as they were cast and the
outputs of ONNX Runtime; strict ones are strict. The tolerance of the inputs is that of every comparison in
which nothing but inputs stands. A bound is what binary64 reads it as: files have decimals of binary32 numbers
that end before those do, and VNN-COMP's own checker reads them so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from salver.core.errors import SalverError, counted
from salver.judge.judgement import WitnessVerdict
from salver.judge.loaded import LoadedInstance
from salver.judge.witness import (
    INPUT_TOLERANCE,
    NO_WITNESS,
    MalformedWitness,
    Replay,
    is_empty,
    not_run,
    parse_witness,
)
from salver.nets.onnx.declared import inputs_of, is_double, refuse_contradiction
from salver.nets.onnx.file import load_model
from salver.nets.runtime import Runtime
from salver.spec.terms import Tensor, TermAtom, TermQuery

Array = npt.NDArray[np.float64]
Values = Mapping[int, Array]
"""Entries of every tensor of a query, by its number."""


def as_stated(instance: LoadedInstance, text: str | None) -> Replay:
    """Replays a witness against everything that the query's text says; a text we do not read is no fault.

    Args:
        text: the witness as printed; None when there was none.
    """
    if text is None or is_empty(text):
        return NO_WITNESS
    try:
        query = instance.stated
        networks = networks_of(instance, query)
    except SalverError as error:
        return Replay(verdict=WitnessVerdict.UNCHECKABLE, detail=str(error))
    inputs = [n for n, tensor in enumerate(query.tensors) if tensor.role == "input"]
    try:
        stated = {n: parse_witness(text, query.tensors[n].size, query.tensors[n].name) for n in inputs}
    except MalformedWitness as error:
        return Replay(verdict=WitnessVerdict.MALFORMED, detail=error.what)
    try:
        values = dict(values_at(query, networks, stated))
    except SalverError as error:
        return Replay(verdict=WitnessVerdict.UNCHECKABLE, detail=str(error))
    except Exception as error:  # ONNX Runtime raises a dozen unrelated types; none is the solver's fault
        return not_run(error)
    verdict, detail = _grade(query, values)
    point = np.concatenate([values[n] for n in inputs])
    outputs = [values[n] for n in range(len(query.tensors)) if n not in stated]
    return Replay(verdict=verdict, point=tuple(point), outputs=tuple(np.concatenate(outputs)), detail=detail)


def networks_of(instance: LoadedInstance, query: TermQuery) -> list[Path]:
    """The file of every network of the query, in the order of its text.

    Raises:
        SalverError: a network has none.
    """
    folder, record = instance.within.folder, instance.record
    found: dict[str, str] = {}
    for declared in query.networks:
        alone = record.onnx if len(query.networks) == 1 and not record.networks else None
        own = record.networks.get(declared.name, alone)
        own = found[declared.like] if own is None and declared.relation == "equal-to" else own
        if own is None:
            raise SalverError(f"network {declared.name!r} has no file", record.name, "correct instances.csv")
        found[declared.name] = own
    return [folder / path for path in found.values()]


def values_at(query: TermQuery, networks: list[Path], stated: Values) -> Iterator[tuple[int, Array]]:
    """Entries of every tensor: the stated inputs cast to the networks' types, and what the networks give.

    Raises:
        SalverError: a network cannot be read, or contradicts the text.
        ValueError: it has other inputs or outputs. Others of ONNX Runtime's own: it cannot be run.
    """
    for number, path in enumerate(networks):
        own = [(n, tensor) for n, tensor in enumerate(query.tensors) if tensor.network == number]
        model = load_model(path)
        sources = [(n, tensor) for n, tensor in own if tensor.role == "input"]
        inputs, point = inputs_of(model.graph), []
        if len(sources) != len(inputs):
            what = (
                f"{path.name} has {counted(len(inputs), 'input tensor')}, the query declares {len(sources)}"
            )
            raise ValueError(what)
        for (n, tensor), declared in zip(sources, inputs, strict=True):
            if tensor.head:  # VNN-LIB 1.0 declares no type
                refuse_contradiction(tensor.head, declared, "query")
            kind = np.float64 if is_double(declared) else np.float32
            with np.errstate(over="ignore"):
                point.append(stated[n].astype(kind).astype(np.float64))
            yield n, point[-1]
        results = [(n, tensor) for n, tensor in own if tensor.role != "input"]
        outputs = _runtime(model, [tensor for _, tensor in results]).outputs(np.concatenate(point))
        if outputs.size != sum(tensor.size for _, tensor in results):
            raise ValueError(f"{path.name} has {outputs.size} outputs, the query declares others")
        first = 0
        for n, tensor in results:
            yield n, outputs[first : first + tensor.size]
            first += tensor.size


def _runtime(model: onnx.ModelProto, results: list[Tensor]) -> Runtime:
    """The model with these tensors, in this order, as its outputs."""
    known = [value.name for value in model.graph.output]
    left = iter(known)
    names = [tensor.inner if tensor.role == "hidden" else next(left) for tensor in results]
    for name in dict.fromkeys(names):
        if name not in known:
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    return Runtime(model.SerializeToString(), names)


def _grade(query: TermQuery, values: Values) -> tuple[WitnessVerdict, str]:
    if not all(np.isfinite(entries).all() for entries in values.values()):
        return WitnessVerdict.INVALID, "an entry is infinite or no number"
    inputs = {n for n, tensor in enumerate(query.tensors) if tensor.role == "input"}
    worst = ""
    for number, clause in enumerate(query.clauses, 1):
        parts = [[(atom, _slack(atom, values)) for atom in part] for part in clause]
        if any(all(_holds(atom, slack) for atom, slack in part) for part in parts):
            continue
        missed = max((float(min(slack for _, slack in part)) for part in parts), default=-math.inf)
        said = f"condition {number} of the query is missed by {max(0.0, -missed):.3g}"
        if not any(all(_is_credited(atom, slack, inputs) for atom, slack in part) for part in parts):
            return WitnessVerdict.INVALID, said
        worst = worst or f"{said}, within the tolerance"
    return (WitnessVerdict.UP_TO_TOLERANCE if worst else WitnessVerdict.CORRECT), worst


def _holds(atom: TermAtom, slack: Fraction) -> bool:
    return slack > 0 if atom.strict else slack >= 0


def _is_credited(atom: TermAtom, slack: Fraction, inputs: set[int]) -> bool:
    """Whether a comparison holds, or one that is about inputs alone nearly does."""
    about_inputs = all(tensor in inputs for monomial, _ in atom.terms for tensor, _ in monomial)
    return slack >= -Fraction(INPUT_TOLERANCE) if about_inputs else _holds(atom, slack)


def _slack(atom: TermAtom, values: Values) -> Fraction:
    """How far a comparison is from being violated; negative = violated."""
    constant = atom.constant
    if len(atom.terms) == 1:
        factor = atom.terms[0][1]
        constant = factor * Fraction(float(constant / factor))
    total = -constant
    for monomial, factor in atom.terms:
        total += factor * math.prod(Fraction(float(values[tensor][place])) for tensor, place in monomial)
    return total if atom.relation == ">=" else -total
