"""Own networks on own data: every family, every way to choose points, and what does not fit."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from salver.core.errors import SalverError
from salver.families.generate import drafts
from salver.families.generator import InstanceDraft
from salver.families.instance import Facts
from salver.families.instance_set import write_set
from salver.families.named_files import relative_to
from salver.families.provenance import gathered, is_unchanged, recipe
from salver.families.registry import generators
from salver.nets.network import Network, evaluate
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.torch_bridge import from_torch
from salver.spec import float32_down, float32_up
from salver.zoo.datasets import DataSource, open_dataset
from tests.builders.own_data import arrays, images, ranges_of
from tests.builders.suites import suite

FEATURES = np.array([f"f{number}" for number in range(9)])
ROWS = 24


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks on a table of nine features and on 4 x 4 images, with data of which they err on a quarter."""
    folder = tmp_path_factory.mktemp("own")
    torch.manual_seed(1)
    dense = nn.Sequential(nn.Linear(9, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 3))
    pooled = nn.Sequential(
        nn.Unflatten(1, (2, 4, 4)), nn.Conv2d(2, 3, 3, 1, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3),
    )  # fmt: skip
    headed = nn.Sequential(
        nn.Unflatten(1, (2, 4, 4)), nn.Conv2d(2, 2, 3, 2, 1), nn.ReLU(), nn.Flatten(),
        nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    table, pictures = rng.normal(size=(ROWS, 9)), rng.normal(size=(ROWS, 2, 4, 4))
    write(folder, "dense", from_torch(dense, 9), table, feature_names=FEATURES, **ranges_of(table))
    for name, module in (("pooled", pooled), ("headed", headed)):
        network = from_torch(module, 32)
        write(folder, name, network, pictures, lower=np.array([-5.0, -6.0]), upper=np.array([5.0, 6.0]))
    return folder


def write(folder: Path, name: str, network: Network, x: np.ndarray, **ranges: Any) -> None:
    (folder / f"{name}.onnx").write_bytes(to_bytes(to_model(network, as_it_is=True)))
    rows = x.reshape(len(x), -1).astype(np.float32).astype(np.float64)
    labels = evaluate(network, rows).argmax(axis=1)
    labels[::4] = (labels[::4] + 1) % 3
    arrays(folder / f"{name}.npz", x=x, y=labels, class_names=np.array(["a", "b", "c"]), **ranges)


def drawn(folder: Path, network: str, family: str = "label_robustness", **params: Any) -> list[InstanceDraft]:
    stated = {"network": f"{network}.onnx", "dataset": f"{network}.npz", **params}
    chosen = suite(family, {key: value for key, value in stated.items() if value is not None})
    return list(drafts(chosen.model_copy(update={"file": folder / "own.toml"})))


BOX = {"kind": "same-map", "delta": 0.5}
FAMILIES = {
    "vg_box": [("dense", {"epsilons": [0.8], "deltas": [0.5], "keep_robust": True})],
    "cam_topk": [
        ("pooled", {"epsilons": [0.1], "k": 4}),
        ("headed", {"epsilons": [0.1], "k": 2, "map": "grad-cam"}),
    ],
    "saliency": [
        ("dense", {"epsilons": [0.2], "map": {"method": "gradient"}, "question": BOX}),
        ("pooled", {"epsilons": [0.2], "map": {"method": "gradient"}, "question": BOX}),
    ],
    "topk_rank": [("dense", {"epsilons": [0.3], "k": 2}), ("headed", {"epsilons": [0.3], "k": 3})],
    "smoothgrad_topk": [("dense", {"epsilons": [0.2], "k": 2, "draws": 2, "largest": 0.4})],
    "gradient_width": [("dense", {"epsilons": [0.5], "deltas": [0.1]})],
    "gradient_sign": [("dense", {"epsilons": [0.8], "levels": [0.0]})],
    "label_robustness": [("dense", {"epsilons": [0.5]})],
    "planted_sat": [("dense", {"epsilon": 0.5, "attack_rounds": 0})],
    "planted_unsat": [("dense", {"epsilon": 0.1, "gates": 1})],
}
CASES = [
    pytest.param(family, network, params, marks=[] if network == "dense" else [pytest.mark.slow])
    for family, cases in FAMILIES.items()
    for network, params in cases
]


def test_every_family_that_takes_a_network_has_a_case() -> None:
    takes = {name for name, kind in generators().items() if "dataset" in kind.parameters.model_fields}
    assert set(FAMILIES) == takes


@pytest.mark.parametrize(("family", "network", "params"), CASES, ids=lambda value: str(value)[:20])
def test_every_family_asks_inside_the_ranges_of_the_entries(
    own: Path, family: str, network: str, params: dict[str, Any]
) -> None:
    found = drawn(own, network, family, points=1, **params)
    data = open_dataset(own / f"{network}.npz")
    low, high = data.bounds
    assert found
    for draft in found:
        facts, prop, x = draft.facts, draft.prop, data.test_x[draft.facts.index].astype(np.float64)
        assert facts.dataset == f"{network}.npz"
        assert facts.label == data.test_y[facts.index]
        assert facts.data_label is None
        assert draft.card is not None
        assert draft.card.classes == ("a", "b", "c")
        assert np.array_equal(prop.input_lower, np.maximum(low, float32_down(x - facts.epsilon)))
        assert np.array_equal(prop.input_upper, np.minimum(high, float32_up(x + facts.epsilon)))
        assert np.array_equal(facts.limits, (low, high))


def test_points_are_named_by_index_and_explained_as_the_network_sees_them(own: Path) -> None:
    data = open_dataset(own / "dense.npz")
    found = drawn(own, "dense", indices=[4, 1], epsilons=[0.1])
    assert [draft.facts.index for draft in found] == [4, 1]
    given = evaluate(found[0].classifier, data.test_x.astype(np.float64)).argmax(axis=1)
    assert [draft.facts.label for draft in found] == given[[4, 1]].tolist()
    assert [draft.facts.data_label for draft in found] == [data.test_y[4], None]


@pytest.mark.slow
def test_points_are_drawn_among_those_that_are_asked_for(own: Path) -> None:
    data = open_dataset(own / "dense.npz")
    chosen = {
        which: {d.facts.index for d in drawn(own, "dense", which=which, points=ROWS, epsilons=[0.1])}
        for which in (None, "correct", "misclassified", "all")
    }
    assert chosen["misclassified"] == set(range(0, ROWS, 4))
    assert chosen[None] == chosen["correct"] == set(range(ROWS)) - chosen["misclassified"]
    assert chosen["all"] == set(range(len(data.test_x)))
    wrong = drawn(own, "dense", which="misclassified", points=1, epsilons=[0.1])[0].facts
    assert wrong.data_label == data.test_y[wrong.index] != wrong.label


def test_a_point_in_a_file_is_a_data_set_of_one(own: Path) -> None:
    np.save(own / "x.npy", np.zeros((3, 3)))
    (with_data,) = drawn(own, "dense", point="x.npy", epsilons=[0.5])
    (alone,) = drawn(own, "dense", dataset=None, point="x.npy", epsilons=[0.5])
    assert (with_data.facts.dataset, with_data.facts.index) == ("x.npy", 0)
    assert with_data.facts.clip is not None
    assert with_data.card is not None
    assert with_data.card.features == tuple(FEATURES)
    assert alone.facts.clip is None
    assert alone.prop.input_upper.tolist() == [0.5] * 9
    assert with_data.facts.label == alone.facts.label
    other = (alone.facts.label + 1) % 3
    (said,) = drawn(own, "dense", point="x.npy", point_label=other, epsilons=[0.5])
    assert (said.facts.label, said.facts.data_label) == (alone.facts.label, other)


def test_a_network_on_a_folder_of_images(own: Path, tmp_path: Path) -> None:
    folder = images(tmp_path / "photos", "L", (6, 12))
    torch.manual_seed(0)
    network = from_torch(nn.Sequential(nn.Linear(72, 5), nn.ReLU(), nn.Linear(5, 2)), 72)
    (tmp_path / "net.onnx").write_bytes(to_bytes(to_model(network, as_it_is=True)))
    params = {"network": "net.onnx", "dataset": {"path": f"{folder.name}/", "mean": 0.5, "std": 0.5}}
    chosen = suite("label_robustness", {**params, "epsilons": [0.1], "which": "all", "points": 1})
    (found,) = drafts(chosen.model_copy(update={"file": tmp_path / "own.toml"}))
    assert found.facts.clip == (-1.0, 1.0)
    assert (found.facts.dataset, found.facts.input_shape) == ("photos/", (1, 6, 12))


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"indices": [99]}, "indices of dense.npz: there is no point 99; it has points 0 to 23"),
        ({"indices": [-1]}, "there is no point -1"),
        ({"indices": [1, 1]}, "indices name a point twice"),
        ({"indices": [1], "points": 3}, "points has no meaning where"),
        ({"indices": [1], "skip": 3}, "skip has no meaning where"),
        ({"indices": [1], "point": "x.npy"}, "indices and point both name points"),
        ({"indices": [4], "which": "correct"}, "dense misclassifies point 4"),
        ({"indices": [1], "which": "misclassified"}, "dense classifies correctly point 1"),
        ({"point_label": 1}, "which is not given"),
        ({"point": "none.npy"}, "none.npy: cannot be read"),
        ({"point": "short.npy"}, "short.npy: holds 4 values"),
        ({"point": "far.npy"}, "far.npy: f2 is 99, outside of"),
        ({"point": "zero.npy", "point_label": 3}, "point_label 3 is not below the network's 3 classes"),
        ({"points": 0}, "points: 0 is too small"),
        ({"skip": 50}, "has 18 correctly classified points, and all are passed over; choose a number"),
        ({"dataset": "pooled.npz"}, "takes 9 inputs, .*pooled.npz has 32"),
        ({"dataset": "few.npz"}, "gives 3 classes, .*few.npz has 2; name every class"),
        ({"dataset": "beyond.npz"}, "gives classes 0 to 2, row 5 of .*beyond.npz has 3"),
        ({"dataset": "wrong.npz"}, "classifies no point of wrong.npz correctly; compare the order of its"),
        ({"dataset": "dens.npz"}, "dens.npz: does not exist; did you mean .*dense.npz"),
        ({"dataset": {"path": "dense.npz", "lowr": 0}}, "dataset.lowr: no entry .* did you mean lower"),
        ({"dataset": None}, "a network in a file needs data; add `dataset`"),
        ({"epsilons": 0.1}, r"epsilons: 0.1 is not a list; write \[0.1\]"),
        ({"epsilon": [0.1]}, "epsilon: no entry has this name; did you mean epsilons"),
        ({"indexes": [1]}, "indexes: no entry has this name; did you mean indices"),
        ({"which": "corect"}, "'corect' is not a choice; did you mean correct"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(own: Path, params: dict[str, Any], match: str) -> None:
    for name, x in (("short", np.zeros(4)), ("far", np.eye(9)[2] * 99), ("zero", np.zeros(9))):
        np.save(own / f"{name}.npy", x)
    x = open_dataset(own / "dense.npz").test_x
    arrays(own / "few.npz", x=x, y=np.arange(ROWS) % 2, class_names=np.array(["a", "b"]))
    arrays(own / "beyond.npz", x=x, y=np.where(np.arange(ROWS) == 5, 3, 0))
    (known,) = drawn(own, "dense", indices=[1], epsilons=[0.1])
    given = evaluate(known.classifier, x.astype(np.float64)).argmax(axis=1)
    arrays(own / "wrong.npz", x=x, y=(given + 1) % 3)
    with pytest.raises(SalverError, match=match) as caught:
        drawn(own, "dense", **{"epsilons": [0.1], **params})
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_images_the_other_way_round_are_not_mixed_up(tmp_path: Path) -> None:
    """A network that declares channels first takes images so, and gives flat rows its shape."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(24, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(layers.eval(), torch.zeros(1, 3, 4, 5), str(tmp_path / "net.onnx"), dynamo=False)
    x = np.random.default_rng(0).uniform(size=(4, 4, 5, 3))
    arrays(tmp_path / "last.npz", x=x, y=np.zeros(4, int))
    arrays(tmp_path / "flat.npz", x=x.transpose(0, 3, 1, 2).reshape(4, -1), y=np.zeros(4, int))

    def found(**dataset: Any) -> InstanceDraft:
        params = {"network": "net.onnx", "dataset": dataset, "indices": [2], "epsilons": [0.1]}
        chosen = suite("label_robustness", params).model_copy(update={"file": tmp_path / "own.toml"})
        (draft,) = drafts(chosen)
        return draft

    with pytest.raises(
        SalverError, match=r"takes images of 3 x 4 x 5, last.npz has 4 x 5 x 3; turn the array"
    ):
        found(path="last.npz")
    turned, flat = found(path="last.npz", file_layout="hwc"), found(path="flat.npz")
    assert turned.facts.input_shape == flat.facts.input_shape == (3, 4, 5)
    assert np.array_equal(turned.prop.input_lower, flat.prop.input_lower)


def test_a_folder_in_a_suite_is_written_with_a_slash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    chosen = suite("label_robustness", {"network": "digits-16x16", "dataset": "photos", "epsilons": [0.1]})
    with pytest.raises(SalverError, match="photos: is a folder; write it with a slash: photos/"):
        list(drafts(chosen))


def test_names_are_no_paths(tmp_path: Path) -> None:
    source = {"path": "a.csv", "label": "mg/l", "class_names": ["no/none", "some.csv"]}
    params = {"network": "digits-16x16", "dataset": source, "epsilons": [0.1]}
    kind = generators()["label_robustness"]()
    parsed = kind.parameters.model_validate(relative_to(tmp_path, params))
    assert parsed.dataset == DataSource(**{**source, "path": str(tmp_path / "a.csv")})
    assert list(kind.files(parsed)) == [tmp_path / "a.csv"]


def test_a_set_is_made_again_when_its_data_changes(tmp_path: Path) -> None:
    folder = images(tmp_path / "photos", "L")
    arrays(tmp_path / "a.npz")
    files = [tmp_path / "a.npz", folder]
    suites = {"before": gathered("suite", files, [], None)}
    assert is_unchanged(suites["before"], "suite", None)
    (folder / "dog" / "1.png").rename(folder / "cat" / "2.png")
    suites["renamed"] = gathered("suite", files, [], None)
    arrays(tmp_path / "a.npz", lower=-9, upper=9)
    suites["other ranges"] = gathered("suite", files, [], None)
    assert len({recipe("suite", made.files) for made in suites.values()}) == 3
    assert not is_unchanged(suites["before"], "suite", None)


def test_two_sets_of_data_of_one_name_are_not_mixed_up(own: Path, tmp_path: Path) -> None:
    drafts = [drawn(own, "dense", indices=[1], epsilons=[epsilon])[0] for epsilon in (0.1, 0.2)]
    assert drafts[1].card is not None
    other = replace(drafts[1], card=drafts[1].card.model_copy(update={"sha256": "another"}))
    chosen, both = suite("label_robustness", {}), iter([drafts[0], other])
    with pytest.raises(SalverError, match="is the name of data with other"):
        write_set(tmp_path / "set", chosen, both, lambda _: None)
    assert not (tmp_path / "set").exists()


@pytest.mark.slow
def test_a_map_that_does_not_move_is_passed_over(own: Path) -> None:
    """Its rounding is no tolerance, and no gate can be hidden behind it."""
    with pytest.raises(SalverError, match="whose saliency moves"):
        drawn(own, "dense", "planted_unsat", epsilon=1e-6, gates=1)


def test_ranges_in_the_facts_of_a_set_are_checked(own: Path) -> None:
    facts = drawn(own, "dense", indices=[1], epsilons=[0.1])[0].facts
    kept = Facts.model_validate_json(facts.model_dump_json())
    assert kept == facts
    for clip in (((0.0, 1.0), (0.0, 1.0)), (1.0, 0.0), ()):
        with pytest.raises(ValidationError, match="range"):
            Facts.model_validate({**facts.model_dump(), "clip": clip})


@pytest.mark.slow
def test_pairs_of_trainings_are_asked_at_points_that_are_named() -> None:
    params = {"network": "digits-16x16", "regimes": ["plain", "wd"], "label_epsilons": [0.01]}
    (first, *_) = drafts(suite("training_pairs", {**params, "points": 1}))
    index = first.facts.index
    assert {d.facts.index for d in drafts(suite("training_pairs", {**params, "indices": [index]}))} == {index}
    with pytest.raises(SalverError, match="point 400 of digits is none that all networks classify"):
        list(drafts(suite("training_pairs", {**params, "indices": [400]})))
