"""What must hold of every method, whichever it is: the graph is the definition, as a file too."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cache
from itertools import combinations
from typing import Any, Literal, get_args, get_origin

import numpy as np
import onnx
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from salver.core.errors import SalverError
from salver.core.records import Record
from salver.explain.explanation import Explanation, Form
from salver.explain.methods import AnyExplanation
from salver.nets.network import Network, evaluate
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.operators import Mul
from salver.nets.runtime import Runtime, with_free_batch
from salver.nets.torch_bridge import tensors_in_torch
from tests.builders.explained_networks import IMAGE, INPUTS, KINDS, LABELS, network
from tests.builders.questions import MAPS

EACH = pytest.mark.parametrize("explanation", MAPS, ids=lambda one: f"{one.method}{'-abs' * one.absolute}")


@cache
def explained(explanation: Explanation) -> dict[str, tuple[Explanation, Network, bytes]]:
    """The map of logit 1, its graph and its file, of each of the networks that the method takes."""
    found = {}
    for kind in KINDS:
        ready = explanation.of(1).for_data(IMAGE, np.full(INPUTS, -np.inf), np.full(INPUTS, np.inf))
        with contextlib.suppress(SalverError):
            graph = ready.graph(network(kind))
            found[kind] = ready, graph, to_bytes(with_free_batch(to_model(graph)))
    return found


def off(values: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Rows [k] that differ by more than single precision, relative to the largest entry."""
    return np.abs(values - expected).max(axis=1) > 1e-5 * max(1.0, np.abs(expected).max())


@EACH
def test_the_graph_is_the_definition_at_random_points_and_on_kinks(explanation: Explanation) -> None:
    rng = np.random.default_rng(0)
    points, whole = rng.uniform(-1, 1, (20, INPUTS)), rng.integers(-1, 2, (20, INPUTS)).astype(np.float64)
    assert explained(explanation), "no network of these is taken"
    both, middle = np.vstack([points, whole]), len(points)
    for kind, (ready, graph, _) in explained(explanation).items():
        expected, found = ready.reference_outputs(network(kind), both), evaluate(graph, both)
        assert not off(found[:middle], expected[:middle]).any(), kind
        # Where a method looks at other points, these are on kinks but for rounding: most must agree.
        allowed = 0 if ready.kinks_at_relus else len(whole) // 4
        assert off(found[middle:], expected[middle:]).sum() <= allowed, kind


@EACH
def test_the_file_gives_the_same_in_onnx_runtime_alone_and_in_a_batch(explanation: Explanation) -> None:
    x = np.random.default_rng(1).uniform(-1, 1, (3, INPUTS))
    for kind, (ready, _, content) in explained(explanation).items():
        runtime = Runtime(content)
        expected = ready.reference_outputs(network(kind), x.astype(np.float32))
        alone = np.stack([runtime.outputs(row) for row in x])
        assert not off(runtime.rows(x.astype(np.float32)), expected).any(), kind
        assert not off(alone, expected).any(), kind


@EACH
def test_the_form_is_that_of_the_file(explanation: Explanation) -> None:
    x = torch.tensor(np.random.default_rng(2).uniform(-1, 1, (20, INPUTS)))
    for kind, (_, graph, content) in explained(explanation).items():
        operators = {node.op_type for node in onnx.load_from_string(content).graph.node}
        products = [node for node in graph.nodes if isinstance(node.operator, Mul)]
        if explanation.form is Form.FORWARD:
            assert not products
            assert "Sign" not in operators, kind
        if explanation.form is Form.MASKS:
            values = tensors_in_torch(graph, torch.float64)(x)
            for node in products:
                factors = [values[name] for name in node.inputs]
                assert any(((factor == 0) | (factor == 1)).all() for factor in factors), kind


@EACH
def test_the_shape_of_the_map_is_its_size(explanation: Explanation) -> None:
    for kind, (ready, graph, _) in explained(explanation).items():
        assert np.prod(ready.map_shape(network(kind), IMAGE)) == graph.output_size - LABELS


@EACH
def test_a_record_goes_through_json(explanation: Explanation) -> None:
    kept: TypeAdapter[Explanation] = TypeAdapter(AnyExplanation)
    for ready in (explanation, *(ready for ready, _, _ in explained(explanation).values())):
        assert kept.validate_json(ready.model_dump_json()) == ready


@EACH
def test_other_parameters_have_a_file_of_their_own(explanation: Explanation) -> None:
    known = [explanation, explanation.of(1), explanation.of(0, 1)]
    assert len({one.text for one in known}) == len(known)
    known += [one for one in changed(explanation) if isinstance(one, Explanation)]
    for one, two in combinations(known, 2):
        assert one.graph_name("n") != two.graph_name("n"), two


def test_no_two_methods_share_a_name() -> None:
    assert len({one.graph_name("n") for one in MAPS}) == len(MAPS)
    assert len({(one.name, one.method) for one in MAPS}) == len({one.name for one in MAPS})


def changed(record: Record) -> Iterator[Record]:
    """The record with another value of each of its entries, one at a time."""
    for name, field in type(record).model_fields.items():
        value = getattr(record, name)
        if name in ("method", "logit", "minus"):
            continue
        if isinstance(value, Record):
            yield from (record.model_copy(update={name: inner}) for inner in changed(value))
            continue
        for other in _others(value, field.annotation):
            try:
                yield type(record).model_validate({**record.model_dump(), name: other})
            except ValidationError:
                continue
            break


def _others(value: Any, kind: Any) -> Iterator[Any]:
    for part in (kind, *get_args(kind)):
        if get_origin(part) is Literal:
            yield from (word for word in get_args(part) if word != value)
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield from (value + 1, value * 2, value / 2)
    elif isinstance(value, tuple) and value:
        yield from ([*value[:-1], other] for other in _others(value[-1], kind))
