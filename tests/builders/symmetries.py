"""Rewritings of a dense classifier that change neither its function nor its gradient, over the reals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from experiments.soundness.networks import Layer

Rewriting = Callable[[np.random.Generator, list[Layer]], list[Layer]]


def permuted(rng: np.random.Generator, layers: list[Layer]) -> list[Layer]:
    """The neurons of every hidden layer in another order."""
    result = list(layers)
    for number in range(len(layers) - 1):
        (weight, bias), (after, shift) = result[number : number + 2]
        order = rng.permutation(len(bias))
        result[number : number + 2] = [(weight[order], bias[order]), (after[:, order], shift)]
    return result


def rescaled(rng: np.random.Generator, layers: list[Layer]) -> list[Layer]:
    """Every neuron's incoming weights times a power of two, its outgoing ones divided by it: exact."""
    result = list(layers)
    for number in range(len(layers) - 1):
        (weight, bias), (after, shift) = result[number : number + 2]
        factor = 2.0 ** rng.integers(-5, 6, len(bias))
        result[number : number + 2] = [(weight * factor[:, None], bias * factor), (after / factor, shift)]
    return result


def split(rng: np.random.Generator, layers: list[Layer]) -> list[Layer]:
    """One neuron of every hidden layer twice, each copy with half the outgoing weights."""
    result = list(layers)
    for number in range(len(layers) - 1):
        (weight, bias), (after, shift) = result[number : number + 2]
        chosen = int(rng.integers(len(bias)))
        halved = after.copy()
        halved[:, chosen] /= 2.0
        result[number : number + 2] = [
            (np.vstack([weight, weight[chosen]]), np.append(bias, bias[chosen])),
            (np.hstack([halved, halved[:, [chosen]]]), shift),
        ]
    return result


def with_dead_neuron(rng: np.random.Generator, layers: list[Layer]) -> list[Layer]:
    """One more neuron per hidden layer: reading nothing, never above 0, or read by nobody."""
    result = list(layers)
    for number in range(len(layers) - 1):
        (weight, bias), (after, shift) = result[number : number + 2]
        incoming, outgoing = rng.integers(-4, 5, weight.shape[1]) / 4.0, rng.integers(-4, 5, len(shift)) / 4.0
        match int(rng.integers(4)):
            case 0:
                incoming, constant = 0.0 * incoming, -1.0
            case 1:
                incoming, constant = 0.0 * incoming, 0.0
            case 2:
                constant, outgoing = 0.25, 0.0 * outgoing
            case _:
                constant = -1e4
        result[number : number + 2] = [
            (np.vstack([weight, incoming]), np.append(bias, constant)),
            (np.hstack([after, outgoing[:, None]]), shift),
        ]
    return result


REWRITINGS: dict[str, Rewriting] = {
    "permuted": permuted,
    "rescaled": rescaled,
    "split": split,
    "dead": with_dead_neuron,
}
