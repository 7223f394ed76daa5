"""Random saliency queries small enough for `enumerate_query`: a seed gives always the same one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from experiments.soundness.networks import (
    FAULTS,
    STYLES,
    convolutional,
    dense,
    random_layers,
    residual,
    single,
    through,
    with_fault,
)
from salver.core.errors import SalverError
from salver.explain.unroll import SaliencyMap, logit_combination, unroll
from salver.families import conditions
from salver.nets.network import Network, lower
from salver.nets.onnx.writer import to_bytes, to_model
from salver.solvers.bounding.propagation import propagate
from salver.solvers.query import Query
from salver.spec import Atom, Clause, Property, box_clauses, float32_down, float32_up

Array = npt.NDArray[np.float64]

KINDS = ("box", "box-tight", "box-elsewhere", "signs", "top-k", "logits", "saliency", "one-sided", "mixed")
TOUCHING = "touching"
"""Trait of a query with a threshold at an extreme, or beside it by less than single precision."""
EXACT = ("dyadic", "ternary", "cancelling")
"""Styles whose pre-activations at dyadic points are exact, so that z = 0 means 0."""
NEAR = (1 - 1e-3, 1 - 1e-5, 1.0, 1 + 1e-5, 1 + 1e-3)
"""Factors of a delta at which the verdict may turn."""
MOST_OPEN = {1: 16, 2: 11, 3: 9, 4: 8}
"""Largest number of open neurons for so many inputs that leaves enumeration well under a second."""


@dataclass(frozen=True, eq=False)
class Case:
    """A query and what it is an example of.

    Attributes:
        kind: of condition, one of `KINDS`; map: `raw` or `abs`; style: of weights, `conv` in front for
            convolutional networks; traits: whatever else is special about it.
    """

    seed: int
    kind: str
    map: SaliencyMap
    style: str
    traits: tuple[str, ...]
    query: Query

    @property
    def label(self) -> str:
        """What the figures are broken down by."""
        touching = f" {TOUCHING}" if TOUCHING in self.traits else ""
        return f"{self.kind} {self.map}{touching}"


def draw(folder: Path, seed: int) -> Case:
    """The query of a seed; its network is written to `folder`.

    1-4 inputs, 1-3 hidden layers of 1-8 neurons, 2-4 classes; one query in nine has a convolutional network
    and one in nine a residual one.
    """
    rng = np.random.default_rng((seed, 1))
    style = str(rng.choice(STYLES))
    classifier, centre, traits = random_classifier(rng, style)
    logits = classifier.output_size
    label = int(lower(classifier).evaluate(centre)[0][0].argmax())
    others = [k for k in range(logits) if k != label]
    kind = str(rng.choice(KINDS, p=[0.2, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05, 0.1, 0.1]))
    saliency: SaliencyMap = "abs" if rng.random() < (0.7 if kind == "top-k" else 0.2) else "raw"
    against = int(rng.choice(others)) if rng.random() < 0.3 else None
    if against is not None:
        traits = (*traits, "difference")
    network = unroll(classifier, logit_combination(logits, label, against), saliency)
    program = lower(network)
    low, high, shrunk = random_box(rng, network, centre, style)
    wins = class_condition(rng, label, others)
    outputs = program.evaluate(np.vstack([centre, rng.uniform(low, high, (200, len(low)))]))[0]
    clauses = condition(rng, kind, outputs, logits, wins)
    path = folder / f"{seed}.onnx"
    path.write_bytes(to_bytes(to_model(network)))
    prop = Property(low, high, clauses, network.output_size)
    return Case(seed, kind, saliency, style, (*traits, *shrunk), Query(path, network, prop))


def random_classifier(rng: np.random.Generator, style: str) -> tuple[Network, Array, tuple[str, ...]]:
    """A network with a gradient, the point xhat, and what is special about the network."""
    shape = rng.choice(["dense", "residual", "conv"], p=[7 / 9, 1 / 9, 1 / 9])
    if shape == "conv":
        return convolutional(rng, style), random_centre(rng, 4, style), ("conv",)
    inputs, classes = int(rng.integers(1, 5)), int(rng.integers(2, 5))
    hidden = [int(width) for width in rng.integers(1, 9, size=rng.integers(1, 4))]
    layers = random_layers(rng, [inputs, *hidden, classes], style)
    centre = random_centre(rng, inputs, style)
    traits = []
    for fault in FAULTS:
        if rng.random() < 0.12:
            layers = with_fault(rng, layers, fault)
            traits.append(fault)
    if rng.random() < 0.2:
        layers = through(layers, centre)
        traits.append("kink-at-centre")
    if shape == "residual":
        [skip] = random_layers(rng, [inputs, classes], style)
        return residual(layers, skip), centre, ("residual", *traits)
    return dense(layers), centre, tuple(traits)


def random_centre(rng: np.random.Generator, size: int, style: str) -> Array:
    return rng.integers(-8, 9, size) / 8.0 if style in EXACT else single(rng.uniform(-1.0, 1.0, size))


def random_box(
    rng: np.random.Generator, network: Network, centre: Array, style: str
) -> tuple[Array, Array, tuple[str, ...]]:
    """A box around (sometimes: on one side of) the centre, halved until few enough neurons are open."""
    reach = np.full(len(centre), 2.0 ** float(rng.integers(-3, 2)))
    if style not in EXACT:
        reach = rng.uniform(0.2, 1.0, len(centre)) * reach
    flat = rng.random(len(centre)) < (0.3 if rng.random() < 0.2 else 0.0)
    reach[flat] = 0.0
    below = np.where(rng.random(len(centre)) < 0.15, 0.0, reach)
    traits = ("degenerate",) if flat.any() else ()
    program = lower(network)
    while True:
        low, high = float32_down(centre - below), float32_up(centre + reach)
        if propagate(program, low, high, method="interval").undecided <= MOST_OPEN[len(centre)]:
            return low, high, traits
        below, reach = below / 2, reach / 2


def class_condition(rng: np.random.Generator, label: int, others: list[int]) -> tuple[Clause, ...]:
    """Some class of all others, or of one, beats the label; sometimes: the label stays, or nothing."""
    choice = rng.choice(["all", "one", "stays", "outright"], p=[0.55, 0.25, 0.1, 0.1])
    one = int(rng.choice(others))
    match choice:
        case "all":
            return conditions.some_class_beats(label, others)
        case "one":
            return conditions.some_class_beats(label, [one])
        case "stays":
            return conditions.class_is(label, len(others) + 1)
    return (tuple(conjunction_of(k, label, others) for k in others),)


def conjunction_of(winner: int, label: int, others: list[int]) -> tuple[Atom, ...]:
    """`winner` is at or above every other class."""
    return tuple(Atom(winner, ">=", other=k) for k in [label, *others] if k != winner)


def condition(
    rng: np.random.Generator,
    kind: str,
    outputs: Array,
    logits: int,
    wins: tuple[Clause, ...],
    least: float = 0.1,
) -> tuple[Clause, ...]:
    """The whole condition; `outputs` are those of the centre and of other points of the box.

    Args:
        least: what a saliency map is taken to be as large as, where its entries are smaller.
    """
    reference, elsewhere = outputs[:2, logits:]
    size = max(float(np.abs(reference).max()), least)
    delta = float(rng.choice([0.0, 1e-6, 1e-3, 1e3, 10.0 ** rng.uniform(-2.0, 0.5), rng.uniform(0.0, 2.0)]))
    try:
        match kind:
            case "signs":
                return (*conditions.same_signs(logits, reference, 0.01), *wins)
            case "top-k":
                return (
                    *conditions.same_top_k(logits, reference, int(rng.integers(1, max(2, len(reference))))),
                    *wins,
                )
            case "logits":
                return wins
            case "box-tight":
                delta = _least_change(rng, outputs, logits, wins)
                return (*conditions.saliency_box(logits, reference, delta), *wins)
            case "saliency":
                return conditions.saliency_box(logits, elsewhere, delta * size)
            case "box-elsewhere":
                return (*conditions.saliency_box(logits, elsewhere, delta * size), *wins)
            case "one-sided":
                least = np.where(rng.random(len(reference)) < 0.5, elsewhere - delta * size, -np.inf)
                most = np.where(rng.random(len(reference)) < 0.3, reference + delta * size, np.inf)
                return (*box_clauses(logits, float32_down(least), float32_up(most)), *wins)
            case "mixed":
                return (*wins, *_mixed(rng, outputs))
    except SalverError:  # a constant, tied or single entry leaves signs and ranks without meaning
        pass
    return (*conditions.saliency_box(logits, reference, delta * size), *wins)


def _least_change(rng: np.random.Generator, outputs: Array, logits: int, wins: tuple[Clause, ...]) -> float:
    """Just above, at or just below the least change of saliency at the points that change the class."""
    box = np.zeros(1)
    won = Property(box, box, wins, outputs.shape[1]).margin(outputs) >= 0
    change = np.abs(outputs[:, logits:] - outputs[0, logits:]).max(axis=1)[won]
    return float(change.min(initial=np.inf) if won.any() else 1.0) * float(rng.choice(NEAR))


def _mixed(rng: np.random.Generator, outputs: Array) -> tuple[Clause, ...]:
    """One or two disjunctions of conjunctions over any outputs, with constants near values they take."""
    clauses = []
    for _ in range(int(rng.integers(1, 3))):
        conjunctions = [
            tuple(_atom(rng, outputs) for _ in range(int(rng.integers(1, 3))))
            for _ in range(int(rng.integers(1, 4)))
        ]
        clauses.append(tuple(conjunctions))
    return tuple(clauses)


def _atom(rng: np.random.Generator, outputs: Array) -> Atom:
    left, other = (int(rng.integers(outputs.shape[1])) for _ in range(2))
    relation = ">=" if rng.random() < 0.5 else "<="
    if left != other and rng.random() < 0.5:
        return Atom(left, relation, other=other)
    value = outputs[int(rng.integers(2)), left] + rng.normal() * rng.choice([0.0, 0.1, 1.0])
    return Atom(left, relation, constant=float(single(value)))
