"""What every instance family must keep: names, determinism, facts, and a property that fits its network."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from salver.families.generate import drafts
from salver.families.generator import InstanceDraft, Parameters
from salver.families.registry import generators
from salver.families.suite import Suite, read_suite, suite_paths
from salver.nets.evaluate import evaluate
from salver.nets.onnx.writer import to_bytes, to_model
from salver.runners.contract import CANONICAL_OPERATORS
from salver.spec import to_vnnlib1
from salver.spec.truth import Evidence, Truth

SMALL = {
    "vg_box": [
        {"network": "bandit-6x6", "points": 2, "epsilons": [0.5], "delta_factors": [0.5, 1.1]},
        {"network": "bandit-6x6", "points": 1, "epsilons": [0.5], "condition": "signs"},
        {"network": "bandit-6x6", "points": 1, "epsilons": [0.5], "condition": "top-k", "k": 2},
        {"network": "bandit-6x6", "points": 1, "epsilons": [0.5], "gradient": "difference", "deltas": [1.0]},
        {"network": "digits-16x16", "points": 1, "epsilons": [0.2], "label": "predicted", "deltas": [1.0]},
        {
            "network": "digits-16x16", "points": 1, "epsilons": [0.2], "label": "predicted",
            "gradient": "difference", "targets": "runner-up", "deltas": [1.0],
        },
    ],
    "cam_topk": [
        {"network": "digits-gap", "points": 1, "epsilons": [0.002], "k": 5},
        {"network": "digits-gap", "points": 1, "epsilons": [0.002], "k": 3, "within": 5},
        {"network": "digits-conv-dense", "points": 1, "epsilons": [0.002], "k": 2, "map": "grad-cam"},
    ],
    "topk_rank": [
        {"network": "bandit-6x6", "points": 2, "k": 1, "epsilons": [0.2], "enumerate": True},
        {"network": "digits-16x16", "points": 1, "k": 5, "epsilon_factors": [0.9, 1.1]},
        {
            "network": "digits-16x16", "points": 1, "k": 5, "stay": 3, "gradient": "difference",
            "epsilon_factors": [1.1],
        },
    ],
    "training_pairs": [
        {
            "network": "digits-16x16", "regimes": ["plain", "wd"], "points": 1, "label_epsilons": [0.1],
            "box_epsilons": [0.1], "deltas": [1.0], "rank_epsilons": [0.01],
        },
    ],
    "smoothgrad_topk": [
        {
            "network": "bandit-6x6", "points": 1, "draws": 2, "k": 3, "epsilon_factors": [0.5, 1.1],
            "enumerate": True,
        },
        {"network": "digits-16x16", "points": 1, "draws": 3, "k": 2, "epsilon_factors": [0.6, 1.1]},
        {"network": "digits-16x16", "points": 1, "draws": 2, "k": 2, "map": "raw", "epsilons": [0.01]},
    ],
    "gradient_width": [
        {
            "network": "bandit-6x6", "points": 2, "epsilons": [0.3],
            "delta_factors": [0.9, 1.3], "enumerate": True,
        },
        {"network": "digits-16x16", "points": 1, "epsilons": [0.05], "deltas": [0.5]},
    ],
    "gradient_sign": [
        {"network": "bandit-6x6", "points": 2, "epsilons": [0.3], "levels": [0.0], "enumerate": True},
        {"network": "digits-16x16", "points": 1, "epsilons": [0.1], "level_factors": [0.9, 1.5]},
    ],
    "label_robustness": [
        {"network": "bandit-6x6", "points": 2, "epsilon_factors": [0.9, 1.1], "enumerate": True},
        {"network": "digits-16x16", "points": 1, "epsilons": [0.05]},
    ],
    "planted_sat": [
        {"network": "digits-16x16", "points": 1, "epsilon": 0.02, "attack_rounds": 1},
        {"network": "digits-conv", "points": 1, "epsilon": 0.02, "attack_rounds": 1},
        {
            "network": "digits-32x32", "points": 1, "epsilon": 0.004, "attack_rounds": 1,
            "question": "topk_rank",
        },
        {"network": "digits-16x16", "points": 1, "epsilon": 0.02, "attack_rounds": 1, "question": "label"},
    ],
    "planted_unsat": [{"network": "digits-16x16", "points": 1, "epsilon": 0.008, "gates": 2}],
    "vg_paper": [
        {"table": "bandit", "deltas": [1.16, 1.17]},
        {"table": "mnist", "deltas": [1e-4], "regions": ["1_0.05"]},
    ],
}  # fmt: skip


def suite(name: str, params: dict) -> Suite:
    return Suite(key="t", title="t", timeout=5, family=({"generator": name, "params": params},))


def small_cases() -> list[tuple[str, dict]]:
    return [(name, params) for name in generators() for params in SMALL[name]]


@pytest.fixture(scope="module", params=small_cases(), ids=lambda case: f"{case[0]}-{case[1]}")
def family(request, data_dir_or_none) -> tuple[Suite, list[InstanceDraft]]:
    name, params = request.param
    if name == "vg_paper" and data_dir_or_none is None:
        pytest.skip("no data folder: set SALVER_DATA")
    chosen = suite(name, params)
    return chosen, list(drafts(chosen, data_dir_or_none))


def test_every_family_has_a_small_case():
    assert set(SMALL) == set(generators())


@pytest.mark.parametrize("name", sorted(generators()))
def test_declares_itself(name):
    kind = generators()[name]
    assert kind.name == name
    assert kind.title
    assert issubclass(kind.parameters, Parameters)
    assert all(option.description for option in kind.parameters.model_fields.values())


def test_same_seed_same_instances(family, data_dir_or_none):
    chosen, first = family
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


@pytest.mark.parametrize("key", sorted(suite_paths()))
def test_suite_files_are_valid(key):
    chosen = read_suite(key)
    known = generators()
    for entry in chosen.family:
        known[entry.generator].parameters.model_validate(entry.params)
