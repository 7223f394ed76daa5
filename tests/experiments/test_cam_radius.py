"""Certified and attacked radii of class activation maps against samples and a complete solver."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from experiments import cam as bench
from experiments.cam import CamOptions, bench_cam, summary
from experiments.cam_radii.attack import CamAttack, Effort
from experiments.cam_radii.bounds import CamBounds
from experiments.cam_radii.radius import METHODS, RadiusQuery, RadiusSearch, measure_radii
from salver.core.errors import SalverError
from salver.explain.cam import Cam
from salver.explain.ranking import UndefinedConditionError
from salver.families.factory import InstanceFactory, Point
from salver.families.questions import TopKChanges
from salver.nets.classifier import read_classifier
from salver.nets.network import Network, evaluate
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.torch_bridge import from_torch
from salver.solvers.hybrid.solver import solve
from salver.solvers.query import Budget, Options, Query, Verdict
from tests.builders.keras_files import gap_layers, write_keras
from tests.builders.networks import gap_net

SEARCH = RadiusSearch(most=0.2, steps=8)
EFFORT = Effort(starts=2, steps=12, halvings=6)


def network_at(path: Path, seed: int, side: int = 8) -> Network:
    return read_classifier(write_keras(path / f"{seed}-{side}.h5", (side, side, 2), gap_layers(seed))).network


def image(seed: int, network: Network) -> tuple[np.ndarray, int]:
    x = (
        np.random.default_rng(seed)
        .uniform(0.2, 0.8, network.input_size)
        .astype(np.float32)
        .astype(np.float64)
    )
    return x, int(evaluate(network, x[None])[0].argmax())


@pytest.mark.parametrize("seed", [0])
def test_radii_are_ordered_and_no_sample_contradicts_them(seed: int, tmp_path: Path) -> None:
    network = network_at(tmp_path, seed)
    x, label = image(seed, network)
    bounds = CamBounds(network, label)
    radii = measure_radii(RadiusQuery(bounds, x, 3), seed, SEARCH, EFFORT)
    certified = radii.certified
    assert 0 < certified["channels"] <= certified["pixels"] <= certified["differences"]
    assert certified["differences"] < radii.attack <= radii.published_attack
    inside = bounds.top(x, 3)
    rest = np.setdiff1d(np.arange(bounds.pixels), inside)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (2000, len(x)))
    maps = evaluate(bounds.graph, x + certified["differences"] * signs)[:, network.output_size :]
    assert (maps[:, inside].min(1) > maps[:, rest].max(1)).all()


@pytest.mark.parametrize("seed", [1])
def test_a_complete_solver_confirms_the_certificate_and_the_attack(seed: int, tmp_path: Path) -> None:
    network = network_at(tmp_path, seed, side=6)
    x, label = image(seed, network)
    radii = measure_radii(RadiusQuery(CamBounds(network, label), x, 3), seed, SEARCH, EFFORT)
    factory = InstanceFactory("cam_topk", network, "net", "none", (2, 6, 6), (-9.0, 9.0))
    question = TopKChanges(k=3, same_label=False)
    query = factory.pose(Point(0, x.astype(np.float32), label), question, Cam(logit=label))
    path = tmp_path / "q.onnx"
    path.write_bytes(to_bytes(to_model(query.graph)))
    for epsilon, expected in (
        (radii.certified["differences"] * (1 - 1e-6), Verdict.UNSAT),
        (radii.attack * (1 + 1e-3), Verdict.SAT),
    ):
        found = solve(
            Query(path, query.graph, query.prop(factory.box(query.point.x, epsilon))), Budget(20.0), Options()
        )
        assert found.verdict is expected


def test_what_an_attack_finds_is_a_violation(tmp_path: Path) -> None:
    network = network_at(tmp_path, 2)
    x, label = image(2, network)
    bounds = CamBounds(network, label)
    inside = bounds.top(x, 3)
    attack = CamAttack(bounds, x, inside)
    rest = np.setdiff1d(np.arange(bounds.pixels), inside)
    assert attack.pairs(1e-7, EFFORT, 0) is None
    for found in (attack.pairs(0.2, EFFORT, 0), attack.published(0.2)):
        assert found is not None
        assert np.abs(found - x).max() <= 0.2 + 1e-12
        assert found.min() >= 0
        assert found.max() <= 1
        logits, cam = np.split(evaluate(bounds.graph, found[None])[0], [network.output_size])
        assert logits.argmax() == label
        assert cam[rest].max() >= cam[inside].min()


def test_differences_contain_the_true_differences_and_pixels_their_values(tmp_path: Path) -> None:
    network = network_at(tmp_path, 7)
    x, label = image(7, network)
    bounds = CamBounds(network, label)
    np.testing.assert_allclose(
        bounds.map(x), evaluate(bounds.graph, x[None])[0, network.output_size :], atol=1e-9
    )
    found = bounds.over(x - 0.05, x + 0.05)
    points = x + 0.05 * np.random.default_rng(0).choice([-1.0, 1.0], (500, len(x)))
    maps = evaluate(bounds.graph, points)[:, network.output_size :]
    pixels = torch.arange(bounds.pixels)
    for method in ("channels", "pixels"):
        low, high = bounds.pixel_bounds(found, pixels, method)
        assert (low.numpy() <= maps.min(0)).all()
        assert (high.numpy() >= maps.max(0)).all()
    pairs = torch.cartesian_prod(pixels, pixels)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    least = bounds.difference_bounds(found, pairs[:, 0], pairs[:, 1], steps=3).numpy()
    true = (maps[:, pairs[:, 0]] - maps[:, pairs[:, 1]]).min(0)
    assert (least <= true + 1e-12).all()
    apart = (low[pairs[:, 0]] - high[pairs[:, 1]]).numpy()
    assert (least >= apart - 1e-9).mean() > 0.9
    assert (least > apart + 1e-3).any()


def test_the_bisection_stays_below_a_known_violation_and_above_what_is_known(tmp_path: Path) -> None:
    network = network_at(tmp_path, 0)
    x, label = image(0, network)
    query = RadiusQuery(CamBounds(network, label), x, 3)
    plain = query.radius("differences", SEARCH)
    assert query.radius("differences", SEARCH, beyond=plain / 2) < plain / 2
    assert query.radius("differences", SEARCH, least=query.radius("pixels", SEARCH)) == plain
    assert not query.certified(plain + SEARCH.most / 2**SEARCH.steps, "differences")


def test_ties_constant_maps_and_impossible_sizes() -> None:
    module = gap_net()
    with torch.no_grad():
        module[3].weight.zero_()
        module[3].bias.fill_(1.0)
    network, x = from_torch(module, 25), np.full(25, 0.5)
    with pytest.raises(UndefinedConditionError, match="tied"):
        RadiusQuery(CamBounds(network, 0), x, 4)
    with pytest.raises(SalverError, match="k: 25"):
        RadiusQuery(CamBounds(network, 0), x, 25)
    with pytest.raises(SalverError, match="no global average pooling"):
        CamBounds(
            from_torch(torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)), 4),
            0,
        )


def images(rows: int = 6) -> pd.DataFrame:
    radii = {"channels": 1e-4, "pixels": 2e-4, "differences": 4e-4, "published_attack": 2e-3, "attack": 5e-4}
    scale = np.linspace(0.5, 1.5, rows)
    frame = pd.DataFrame({name: value * scale for name, value in radii.items()})
    return frame.assign(part="test", index=range(rows), seconds=2.0, **{"class": [12, 17] * (rows // 2)})


def test_the_table_stands_beside_the_published_medians() -> None:
    table = summary(images(), CamOptions())
    assert table["class"].tolist() == ["12", "12, Gu et al., 2020", "17", "17, Gu et al., 2020"]
    assert table["images"].tolist() == ["3", "100", "3", "100"]
    assert table.loc[1, "certified, CORGI's test"] == "0.000324"
    assert table["published attack / CORGI's test"].tolist() == ["20.0", "5.1", "20.0", "6.2"]
    assert table["our attack / differences"].tolist() == ["1.2", "", "1.2", ""]
    assert len(summary(images(), CamOptions(network=Path("mine.h5")))) == 2


def test_missing_data_are_one_line_and_bad_options_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SALVER_DATA", str(tmp_path))
    monkeypatch.setenv("SALVER_CACHE", str(tmp_path / "cache"))
    said: list[str] = []
    assert bench_cam(tmp_path, CamOptions(), say=said.append) is None
    assert len(said) == 1
    assert said[0].startswith("cam: skipped: ")
    assert "corgi_gtsrb.h5" in said[0]
    with pytest.raises(SalverError, match="No such file"):
        bench_cam(tmp_path, CamOptions(network=tmp_path / "none.h5", dataset="digits"), say=said.append)
    other = write_keras(tmp_path / "net.h5", (6, 6, 2), gap_layers(0))
    with pytest.raises(SalverError, match="inputs of shape"):
        bench_cam(tmp_path, CamOptions(network=other, dataset="digits"), say=said.append)


def test_the_bench_writes_its_tables_for_any_network(tmp_path: Path) -> None:
    path = write_keras(tmp_path / "net.h5", (8, 8, 1), gap_layers(1, channels=1, classes=10))
    options = CamOptions(network=path, dataset="digits", classes=(predicted_class(path),), images=2, k=3)
    said: list[str] = []
    folder = bench_cam(tmp_path, options, say=said.append)
    assert folder is not None
    rows = pd.read_csv(folder / "cam-images.csv")
    assert len(rows) == 2
    assert (rows["differences"] < rows["attack"]).all()
    assert (folder / "cam.csv").is_file()
    assert "| class" in (folder / "cam.md").read_text()
    with pytest.raises(SalverError, match="k = 16 is not between 1 and 15"):
        bench_cam(tmp_path, options.model_copy(update={"k": 16}), say=said.append)
    with pytest.raises(SalverError, match="class 10 does not exist"):
        bench_cam(tmp_path, options.model_copy(update={"classes": (10,)}), say=said.append)


def predicted_class(path: Path) -> int:
    """A class of which the untrained network gets some digits right."""
    from salver.zoo.datasets import load

    data = load("digits")
    won = evaluate(read_classifier(path).network, data.test_x.astype(np.float64)).argmax(1)
    return int(np.bincount(won[won == data.test_y]).argmax())


def test_methods_are_those_of_the_bench() -> None:
    assert set(METHODS) < set(bench.COLUMNS)
