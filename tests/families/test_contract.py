"""What every instance family must keep: names, determinism, facts, and a property that fits its network."""

from __future__ import annotations

import itertools
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from salver.explain.explanation import METHODS, Form
from salver.families.generate import drafts
from salver.families.generator import InstanceDraft, Parameters
from salver.families.registry import generators
from salver.families.suite import Suite, read_suite, suite_paths
from salver.nets.network import evaluate
from salver.nets.onnx.writer import to_bytes, to_model
from salver.runners.contract import CANONICAL_OPERATORS
from salver.spec import to_vnnlib1
from salver.spec.truth import Evidence, Truth
from tests.builders.suites import SMALL, suite

ON_DATA = ("lifted", "vg_paper")


def small_cases() -> list[pytest.ParameterSet]:
    """The first case of each family is quick enough for every edit, unless it reads the user's data."""
    return [
        pytest.param(
            (name, number), id=f"{name}-{params}", marks=[pytest.mark.slow] * (number > 0 or name in ON_DATA)
        )
        for name in generators()
        for number, params in enumerate(SMALL[name])
    ]


@cache
def drafted(name: str, number: int, data: Path | None) -> tuple[Suite, list[InstanceDraft]]:
    """A small case of a family, and its drafts; made once."""
    if name in ON_DATA and data is None:
        pytest.skip("no data folder: set SALVER_DATA")
    chosen = suite(name, SMALL[name][number])
    return chosen, list(drafts(chosen, data))


@pytest.fixture(params=small_cases())
def family(request, data_dir_or_none) -> tuple[Suite, list[InstanceDraft]]:
    return drafted(*request.param, data_dir_or_none)


def test_every_family_has_a_small_case():
    assert set(SMALL) == set(generators())


@pytest.mark.parametrize("name", sorted(generators()))
def test_declares_itself(name):
    kind = generators()[name]
    assert kind.name == name
    assert kind.title
    assert issubclass(kind.parameters, Parameters)
    assert all(option.description for option in kind.parameters.model_fields.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", generators())
def test_same_seed_same_instances(name, data_dir_or_none):
    chosen, first = drafted(name, 0, data_dir_or_none)
    second = list(drafts(chosen, data_dir_or_none))
    assert [d.name for d in first] == [d.name for d in second]
    for one, two in zip(first, second, strict=True):
        assert to_vnnlib1(one.prop) == to_vnnlib1(two.prop)
        assert to_bytes(to_model(one.graph)) == to_bytes(to_model(two.graph))
        assert one.facts == two.facts


def test_names_are_unique_file_stems(family):
    names = [draft.name for draft in family[1]]
    assert names
    assert len(set(names)) == len(names)
    assert all("/" not in name and " " not in name for name in names)


def test_property_fits_the_network(family):
    for draft in family[1]:
        assert len(draft.prop.input_lower) == draft.graph.input_size
        assert draft.prop.output_count == draft.graph.output_size
        assert draft.facts.logits + draft.facts.saliencies == draft.graph.output_size
        operators = {node.op_type for node in to_model(draft.graph).graph.node}
        assert operators <= CANONICAL_OPERATORS
        for side in (draft.prop.input_lower, draft.prop.input_upper):
            assert (side.astype(np.float32) == side).all()


def test_known_answers_say_how_they_are_known(family):
    for draft in family[1]:
        known = draft.facts.expected is not Truth.UNKNOWN
        assert known == (draft.facts.evidence is not Evidence.UNKNOWN)


def test_logits_of_the_graph_are_the_classifier(family):
    for draft in itertools.islice(family[1], 2):
        x = np.random.default_rng(0).uniform(0, 1, (5, draft.graph.input_size))
        logits = evaluate(draft.graph, x)[:, : draft.facts.logits]
        assert np.allclose(logits, evaluate(draft.classifier, x))


def test_the_suites_of_methods_have_every_method():
    asked = set()
    for key in {"methods", "perturbation"} & set(suite_paths()):
        for entry in read_suite(key).family:
            maps = [*entry.params.get("maps", []), entry.params.get("map")]
            asked |= {one["method"] for one in maps if one}
    forward = {name for name, kind in METHODS.known.items() if kind.form is Form.FORWARD}
    assert asked >= set(METHODS.known) - forward


@pytest.mark.parametrize("key", sorted(suite_paths()))
def test_suite_files_are_valid(key):
    chosen = read_suite(key)
    known = generators()
    for entry in chosen.family:
        known[entry.generator].parameters.model_validate(entry.params)
