"""R2ET's measures: attacks within their budget, P@k and thickness with known values, counts of verdicts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from experiments.ranking import RankingOptions, bench_ranking, measure, verdicts
from experiments.saliency_attacks import L2Budget, attacked, in_float64, saliency
from salver.core.errors import SalverError
from salver.families.instance import Facts
from salver.families.questions import TopKChanges
from salver.zoo.datasets import Dataset

QUICK = RankingOptions(points=8, samples=20, steps=5, step=0.02)


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return in_float64(nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3)))


def data_of(module: nn.Sequential, rows: int = 40) -> Dataset:
    """Points that the module classifies correctly, because it named them."""
    x = np.random.default_rng(0).uniform(0.2, 0.8, (rows, 6)).astype(np.float32)
    y = module(torch.from_numpy(x).double()).argmax(1).numpy()
    return Dataset("toy", x, y, x, y, (6,), ("a", "b", "c"))


@pytest.mark.parametrize("kind", ["er", "mse"])
def test_attacks_keep_class_range_and_budget(kind) -> None:
    net = network()
    x = torch.rand(50, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    y = net(x).argmax(1)
    found = attacked(net, x, y, 2, kind, L2Budget(steps=20, step=0.05), (0.0, 1.0))
    assert torch.equal(net(found).argmax(1), y)
    assert float((found - x).norm(dim=1).max()) <= 20 * 0.05 + 1e-9
    assert found.min() >= 0
    assert found.max() <= 1
    assert not torch.equal(found, x)


def test_er_attack_lowers_what_it_says_where_softplus_is_almost_relu() -> None:
    net, budget = network(3), L2Budget(steps=60, step=0.02, beta=20.0)
    x = torch.rand(60, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    y = net(x).argmax(1)
    before = saliency(net, x, y)
    order = np.argsort(-before, axis=1, kind="stable")

    def lead(maps: np.ndarray) -> float:
        ranked = np.take_along_axis(maps, order, axis=1)
        return float((ranked[:, :2].sum(1) - ranked[:, 2:4].sum(1)).mean())

    after = saliency(net, attacked(net, x, y, 2, "er", budget, (-5.0, 5.0)), y)
    assert lead(after) < lead(before) - 0.05


def test_next_features_end_where_the_features_end() -> None:
    net = network()
    x = torch.full((3, 6), 0.5, dtype=torch.float64)
    y = net(x).argmax(1)
    for k in (4, 5):
        assert attacked(net, x, y, k, "er", L2Budget(steps=2), (0.0, 1.0)).shape == x.shape


def test_a_linear_network_has_stability_one() -> None:
    torch.manual_seed(0)
    net = in_float64(nn.Sequential(nn.Linear(6, 3)))
    found = measure(net, data_of(net), 2, QUICK)
    assert found is not None
    assert (found.points, found.tied, found.er, found.mse, found.thickness) == (8, 0, 1.0, 1.0, 1.0)


def test_an_attack_without_reach_changes_nothing_and_a_long_one_does() -> None:
    net = network(1)
    data = replace(data_of(net), clip=(-9.0, 9.0))
    near = measure(net, data, 2, QUICK.model_copy(update={"step": 1e-12}))
    far = measure(net, data, 2, QUICK.model_copy(update={"step": 0.5, "points": 40}))
    assert near is not None
    assert far is not None
    assert (near.er, near.mse, near.thickness) == (1.0, 1.0, 1.0)
    assert min(far.er, far.mse) < 1
    assert 0 < far.thickness < 1


def test_a_constant_saliency_is_passed_over() -> None:
    net = network()
    with torch.no_grad():
        net[0].weight.zero_()
    assert measure(net, data_of(net), 2, QUICK) is None


def test_k_must_leave_features_outside() -> None:
    net = network()
    with pytest.raises(SalverError, match="k: 6 is not between 1 and 5"):
        measure(net, data_of(net), 6, QUICK)


def test_verdicts_are_counted_at_shared_radii_of_the_strict_form() -> None:
    def fact(name: str, epsilon: float, stay: int = 8) -> Facts:
        return Facts.model_construct(network=name, epsilon=epsilon, question=TopKChanges(k=8, stay=stay))

    asked = [
        (fact("a", 0.1), "verified"),
        (fact("a", 0.1), "timeout"),
        (fact("a", 0.3), "verified"),
        (fact("a", 0.1, stay=6), "falsified"),
        (fact("b", 0.1), "falsified"),
        (fact("c", 0.1), "falsified"),
    ]
    frame = pd.DataFrame({"outcome": [outcome for _, outcome in asked]})
    found = verdicts(frame, [one for one, _ in asked], ["a", "b"], 8)
    assert found == {"a": "1 / 0 / 1", "b": "0 / 1 / 0"}


def test_the_command_writes_its_tables_without_any_run(tmp_path: Path) -> None:
    said: list[str] = []
    folder = bench_ranking(
        tmp_path,
        RankingOptions(datasets=("breast_cancer",), points=4, samples=5, steps=2),
        say=said.append,
    )
    table = pd.read_csv(folder / "breast_cancer.csv")
    assert table["training"].tolist() == ["plain", "wd", "softplus", "guided", "r2et", "adv"]
    assert set(table["verified / falsified / undecided"]) == {"not run"}
    assert "salver run ranking-breast --solvers hybrid" in (folder / "ranking.md").read_text()


def test_a_data_set_without_a_comparison_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SalverError, match="no comparison on iris"):
        bench_ranking(tmp_path, RankingOptions(datasets=("iris",)))
