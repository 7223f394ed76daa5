"""What single precision may do to outputs whose terms cancel, also inside of ReLUs and masks."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.soundness.networks import dense, random_layers, single
from salver.explain.unroll import logit_combination, unroll
from salver.nets.network import lower
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.runtime import Runtime

UNIT = 1e-6


@pytest.mark.parametrize("seed", [25, 137, 169, 220, 227, 336])
def test_sums_that_cancel_inside_of_a_network_count_as_large_as_what_they_add_up(seed: int) -> None:
    rng = np.random.default_rng(seed)
    layers = [
        (single(weight * np.float32(rng.uniform(0.1, 1.0))), single(bias / 7.0))
        for weight, bias in random_layers(rng, [1, 4, 4, 2], "cancelling")
    ]
    graph = unroll(dense(layers), logit_combination(2, 0), "raw")
    x, program = single(rng.uniform(-1.0, 1.0, 1)), lower(graph)
    replayed = Runtime(to_bytes(to_model(graph))).outputs(x)
    off = np.abs(replayed - program.evaluate(x[None])[0][0])
    assert off.any()
    assert (off <= program.rounding(x, UNIT)).all()
