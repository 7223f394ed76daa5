"""`salver bench kernels`: its count of operations, networks that mean what they say, series that end."""

from __future__ import annotations

import numpy as np
import pytest

from experiments import kernels
from experiments.kernels import KernelOptions, convolutional, dense, growth_table, share_table
from salver.nets.network import lower
from salver.solvers.bounding.propagation import propagate


def test_two_bounds_of_every_open_neuron_are_carried_through_the_layers_below() -> None:
    made, side = dense([2, 3, 4, 10], 0), np.full(2, 5.0)
    bounds = propagate(lower(made.network), -side, side, outputs=False)
    assert bounds.undecided == 7
    assert made.work(bounds) == 4 * (6 + 12 + 4 * 6)
    point = propagate(lower(made.network), side, side, outputs=False)
    assert made.work(point) == 4 * (6 + 12)


def test_the_weights_of_a_convolution_count_at_every_place() -> None:
    made = convolutional((3, 8, 8), (2,), 5, 0)
    assert made.neurons == (2 * 4 * 4, 5)
    assert made.weights == (2 * 4 * 4 * 3 * 4 * 4, 2 * 4 * 4 * 5, 5 * 10)
    assert made.network.output_size == 10


def test_a_series_ends_with_the_first_slow_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    table = growth_table(KernelOptions(), "unstable", (4, 6))
    assert table["unstable"].tolist() == ["4", "6"]
    seconds = iter([0.1, 9.0, 9.0])

    def timed(work) -> float:
        work()
        return next(seconds)

    monkeypatch.setattr(kernels, "cpu_seconds", timed)
    table = growth_table(KernelOptions(most=1.0), "inputs", (2, 3, 4))
    assert table["bounds (s)"].tolist() == ["0.1", "9"]
    assert table["with the map (s)"].tolist() == ["9", "-"]


def test_the_share_is_that_of_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "shapes", lambda seed: [(dense([2, 3, 4, 10], seed), 5.0)])
    monkeypatch.setattr(kernels, "cpu_seconds", lambda work: (work(), 0.5)[1])
    (row,) = share_table(KernelOptions(), 4 * 42.0).to_dict("records")
    assert (row["operations"], row["share of peak"]) == ("1.7e+02", "200.0%")
