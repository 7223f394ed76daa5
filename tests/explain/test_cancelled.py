"""Entries that are 0 by definition are 0 where a question is posed, whatever rounding leaves of them."""

from __future__ import annotations

import numpy as np
import pytest

from salver.core.errors import SalverError
from salver.explain.explanation import CANCELLED, Explained, Explanation
from salver.explain.kernel_shap import KernelShap
from salver.explain.lime import Lime
from salver.explain.masked_copies import Draws, MaskedCopies
from salver.explain.noise_squares import VarGrad
from salver.explain.ranking import UndefinedConditionError
from salver.explain.shapley import ShapleyValues
from salver.explain.smoothgrad import Noise
from salver.families.factory import InstanceFactory, Point
from salver.families.questions import TopKChanges
from salver.nets.network import Network, lower
from salver.nets.operators import Linear, Node, Relu
from tests.builders import explained_networks
from tests.builders.questions import MAPS

X = np.array([0.3, -0.2, 0.9, 0.4])
OF_A_CONSTANT = [
    ShapleyValues(logit=1),
    KernelShap(logit=1, draws=Draws(count=12)),
    Lime(logit=1, draws=Draws(count=12)),
]
OF_ONE_PIECE = [
    VarGrad(noise=Noise(draws=3, sigma=0.01)),
    VarGrad(noise=Noise(draws=3, sigma=0.01), absolute=True),
]


def on_one_piece(scale: float) -> Network:
    """Four inputs, the last of which is not read, and ReLUs that are all on near 0.

    So the gradient is one vector there. Logit 1 is 0.7 plus terms that cancel, all times `scale`.
    """
    rng = np.random.default_rng(5)
    first, second = rng.normal(size=(6, 4)).astype(np.float32), rng.normal(size=(2, 12)).astype(np.float32)
    first[:, 3], second[1, 6:] = 0.0, -second[1, :6]
    twice = np.concatenate([first, first])
    nodes = (
        Node("z", Linear(twice, np.full(12, 10, np.float32)), ("X",), (12,)),
        Node("a", Relu(), ("z",), (12,)),
        Node("y", Linear(np.float32(scale) * second, np.array([0, 0.7 * scale], np.float32)), ("a",), (2,)),
    )
    return Network("X", 4, nodes, "y")


def explained(network: Network, explanation: Explanation) -> Explained:
    return Explained(network, lower(network), explanation)


@pytest.mark.parametrize("scale", [1.0, 2.0**-60, 2.0**60])
@pytest.mark.parametrize("explanation", OF_A_CONSTANT + OF_ONE_PIECE, ids=lambda one: one.method)
def test_a_map_of_zeros_is_one(explanation: Explanation, scale: float) -> None:
    network = on_one_piece(scale)
    made = explained(network, explanation)
    assert made.values(X[None])[1].any()
    assert not made.at(X).any()
    factory = InstanceFactory("test", network, "net", "none", (4,), None)
    point = Point(0, X.astype(np.float32), explanation.logit)
    with pytest.raises(UndefinedConditionError, match=r"ranks 1 and 2 .* are tied"):
        factory.pose(point, TopKChanges(k=1), explanation)


@pytest.mark.parametrize("scale", [1.0, 2.0**-60, 2.0**60])
def test_an_input_that_is_not_read_has_no_share(scale: float) -> None:
    found = explained(on_one_piece(scale), ShapleyValues()).at(X)
    assert found[3] == 0.0
    assert found[:3].all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", explained_networks.KINDS)
def test_what_counts_as_nothing_is_what_two_ways_of_adding_up_differ_by(kind: str) -> None:
    network, compared = explained_networks.network(kind), 0
    largest_bias = float(np.abs(network.nodes[-1].operator.bias).max())
    for explanation in (one for one in MAPS if not one.values_use_graph):
        made = explained(network, explanation)
        for x in np.random.default_rng(2).uniform(0, 1, (3, explained_networks.INPUTS)):
            try:
                values, definition = made.values(x[None])[1][0], explanation.reference(network, x[None])[0]
            except SalverError:
                continue
            rounding = explanation.rounding(made, x)
            assert (np.abs(values - definition) <= rounding).all()
            # Scores hold the biases of the logits, which graphs of masked inputs leave out of them.
            left_out = largest_bias if isinstance(explanation, MaskedCopies) else 0.0
            at_most = made.lowered.rounding(x, CANCELLED)[made.logits :] + CANCELLED * left_out
            assert (rounding <= 10 * at_most).all()
            compared += 1
    assert compared > 30
