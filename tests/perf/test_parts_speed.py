"""Time to bound the nodes of a search one by one and in batches. Measured, never asserted.

Run with --benchmark-enable and, say, OMP_NUM_THREADS=1; a time divided by `nodes` is the time per node.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from salver.explain.unroll import logit_combination, unroll
from salver.nets.network import Network, lower
from salver.nets.program import Program
from salver.nets.torch_bridge import from_torch
from salver.solvers.bounding.arrays import HOST, Arrays, Device
from salver.solvers.bounding.propagation import propagate
from tests.builders.parts import Part, at_once
from tests.builders.small_queries import relu_network

NETWORKS = {"784-256-256-10": 0.003, "64-64-64-10": 0.03, "conv": 0.004}
"""Network -> radius of the box that leaves 30 to 90 neurons open."""
BATCHES = [1, 2, 4, 8, 16, 32]
PLACES: dict[str, Arrays] = {"numpy": HOST, "torch": Device("cpu")}
if torch.cuda.is_available():
    PLACES["cuda"] = Device("cuda")


def _network(name: str, generator: np.random.Generator) -> Network:
    if name != "conv":
        return relu_network([int(size) for size in name.split("-")], generator, 1.4)
    torch.manual_seed(0)
    classifier = torch.nn.Sequential(
        torch.nn.Unflatten(1, (1, 28, 28)), torch.nn.Conv2d(1, 8, 4, stride=2, padding=1), torch.nn.ReLU(),
        torch.nn.Conv2d(8, 16, 4, stride=2, padding=1), torch.nn.ReLU(), torch.nn.Flatten(),
        torch.nn.Linear(784, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10),
    )  # fmt: skip
    return from_torch(classifier, 784)


@cache
def _nodes(name: str, count: int) -> tuple[Program, list[Part]]:
    """Feasible children of the root with four open neurons of the first layer and two of each other fixed."""
    generator = np.random.default_rng(0)
    program = lower(unroll(_network(name, generator), logit_combination(10, 3)))
    centre = generator.uniform(0.0, 1.0, program.input_size)
    box = (centre - NETWORKS[name], centre + NETWORKS[name])
    root = propagate(program, *box, outputs=False)
    parts: list[Part] = []
    while len(parts) < count:
        fixed = {}
        for number, signs in enumerate(root.signs):
            open_ = np.flatnonzero(signs == 0)
            chosen = generator.choice(open_, min(len(open_), 2 if number else 4), replace=False)
            fixed[number] = np.zeros(len(signs), np.int8)
            fixed[number][chosen] = generator.choice([-1, 1], len(chosen))
        part = Part(*box, fixed, root)
        if not at_once(program, [part])[0].infeasible:
            parts.append(part)
    return program, parts


@pytest.mark.parametrize("name", NETWORKS)
def test_one_by_one_with_numpy(benchmark: BenchmarkFixture, name: str) -> None:
    program, parts = _nodes(name, 4)
    found = benchmark(lambda: [part.alone(program) for part in parts])
    benchmark.extra_info["nodes"] = 4
    assert all(bounds.undecided for bounds in found)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Where nothing is measured, the same lines run whatever the size of a batch."""
    if "batch" in metafunc.fixturenames:
        measured = metafunc.config.getoption("benchmark_enable")
        metafunc.parametrize("batch", BATCHES if measured else [4])


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", NETWORKS)
def test_in_batches(benchmark: BenchmarkFixture, name: str, batch: int, place: str) -> None:
    program, parts = _nodes(name, batch)
    found = benchmark(at_once, program, parts, PLACES[place])
    benchmark.extra_info["nodes"] = batch
    assert all(bounds.undecided for bounds in found)
