"""Speed of the bounds on a network of the published MNIST size. Measured, never asserted."""

from __future__ import annotations

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from salver.explain.unroll import logit_combination, unroll
from salver.nets.network import lower
from salver.solvers.bounding.propagation import propagate
from tests.builders.small_queries import relu_network


@pytest.mark.parametrize("method", ["crown", "interval"])
def test_bounds_of_784_256_256_10(benchmark: BenchmarkFixture, method: str) -> None:
    generator = np.random.default_rng(0)
    program = lower(unroll(relu_network([784, 256, 256, 10], generator, 1.4), logit_combination(10, 3)))
    centre = generator.uniform(0.0, 1.0, 784)
    bounds = benchmark(propagate, program, centre - 0.01, centre + 0.01, method=method)
    assert bounds.undecided > 0
