"""Time of CROWN bounds by batch, and of whole branch and bounds; run with --benchmark-enable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from salver.solvers.absolute import without_abs
from salver.solvers.crown.bounds import Bounder, Boxes
from salver.solvers.crown.graph import atom_rows, over_rows
from salver.solvers.crown.one_pass import bound
from salver.solvers.crown.solver import solve
from salver.solvers.query import Budget, Options, Verdict
from tests.builders.small_queries import bandit_query, relu_network, saliency_query


@pytest.mark.parametrize("sizes", [[5, 6, 6, 2], [20, 50, 50, 10]], ids=["5-6-6-2", "20-50-50-10"])
@pytest.mark.parametrize("batch", [1, 256])
def test_bounding_pass(benchmark: BenchmarkFixture, sizes: list[int], batch: int, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    centre = generator.uniform(0.2, 0.8, sizes[0])
    classifier = relu_network(sizes, generator)
    query = saliency_query(tmp_path, classifier, centre, (centre - 0.1, centre + 0.1), 0.5)
    rows = atom_rows(query.prop)
    bounder = Bounder(over_rows(without_abs(query.program), rows), rows, "cpu")
    root = bounder.root(query.prop.input_lower, query.prop.input_upper)
    boxes = Boxes(
        *(getattr(root, name).expand(batch, -1) for name in ("lower", "upper", "low", "high", "signs"))
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        bounded = benchmark(bound, bounder, boxes, Budget(600.0))
    finally:
        torch.set_num_threads(threads)
    assert torch.isfinite(bounded.boxes.low).all()
    benchmark.extra_info["boxes"] = batch


def test_bandit(benchmark: BenchmarkFixture, data_dir: Path, tmp_path: Path) -> None:
    result = benchmark(lambda: solve(bandit_query(data_dir, tmp_path, 1.16), Budget(60.0), Options()))
    assert result.verdict is Verdict.UNSAT
