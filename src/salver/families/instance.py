"""An instance and the set it belongs to, as records: what is asked, of which network, around which point."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from salver.core.errors import SalverError
from salver.core.records import Record
from salver.explain.methods import AnyExplanation
from salver.families.questions import AnyQuestion
from salver.nets.network import Network, evaluate
from salver.spec import Norm
from salver.spec.truth import Evidence, Truth
from salver.zoo.datasets import Clip, bounds

Array = npt.NDArray[np.float64]
MOST_RANGES = 16
"""Most ranges that are written out for people."""


class RankingMeasures(Record):
    """Uniform points of a box that keep the label, and what the ranking does on them.

    Attributes:
        label_kept: share of the points that keep the label.
        precision_mean, precision_min: P@k over the kept points; 1 where there is none.
        thickness_mean, thickness_min: share of the kept points with S_i > S_j, over the pairs.
        open_neurons: ReLUs whose sign is not the same on the whole box by bounds; with 0 the map is constant.
    """

    label_kept: float = 0.0
    precision_mean: float = 1.0
    precision_min: float = 1.0
    thickness_mean: float = 1.0
    thickness_min: float = 1.0
    open_neurons: int = 0


class Vacuity(Record):
    """How far an instance is from being trivially true or false. All are sampled and no proof.

    Attributes:
        delta_over_saliency: the tolerance in units of the largest entry of E(xhat).
        delta_star_upper, epsilon_star_upper: smallest tolerance and radius for which sampling found a
            violation; None when none was found, or none was sought.
        extreme: the largest score seen of what the question asks for, such as how far an entry moved.
        ranking: what a ranking does on the box.
        samples: points looked at.
    """

    delta_over_saliency: float | None = None
    delta_star_upper: float | None = None
    epsilon_star_upper: float | None = None
    extreme: float | None = None
    ranking: RankingMeasures | None = None
    samples: int = 0


class Planted(Record):
    """How an answer was built into a network: so many restarts of an attack missed it, or so many gates."""

    attack_missed: int | None = None
    gates: int | None = None


class Training(Record):
    """How a network was trained that is compared with others of its architecture."""

    regime: str
    network_seed: int


class Facts(Record):
    """What an instance is about, as written to the manifest, the ONNX metadata and the VNN-LIB header.

    Attributes:
        index, label: row of xhat in the test part of the data set, and the class that the network gives it.
        data_label: the class of xhat in the data set, where that is another one.
        explanation: which map E is; None where the question is about the class alone.
        compared_with: the map at xhat that E is compared with, where it is another one than `explanation`.
        question: what is asked of E, completed by E at xhat.
        epsilon: radius of the box, which lies inside `clip`; half of its widest side where it is another one.
        norm: in which inputs lie within epsilon of xhat; with `l2` the box is cut to a ball.
        region: the box in words, where it is another one than that of radius `epsilon` around xhat.
        xhat: the point [n], where it is neither a row of a data set nor the middle of the box.
        clip: lowest and highest valid value of the entries, for all or for equal parts of them in order.
        logits, saliencies: outputs of the query's network: logits, then the map and what is derived from it.
    """

    family: str
    network: str
    dataset: str
    index: int
    label: int
    data_label: int | None = Field(default=None, exclude_if=lambda label: label is None)
    explanation: AnyExplanation | None = None
    compared_with: AnyExplanation | None = None
    question: AnyQuestion
    epsilon: float
    norm: Norm = Field(default="linf", exclude_if=lambda norm: norm == "linf")
    region: str | None = Field(default=None, exclude_if=lambda region: region is None)
    xhat: tuple[float, ...] | None = Field(default=None, exclude_if=lambda xhat: xhat is None)
    clip: Clip | None = None
    input_shape: tuple[int, ...]
    logits: int
    saliencies: int
    relu_derivative_at_zero: Literal[0] = 0
    expected: Truth = Truth.UNKNOWN
    evidence: Evidence = Evidence.UNKNOWN
    vacuity: Vacuity = Vacuity()
    planted: Planted | None = None
    training: Training | None = None

    @model_validator(mode="after")
    def _clip_fits(self) -> Self:
        bounds(self.clip, math.prod(self.input_shape))
        return self

    @property
    def limits(self) -> tuple[Array, Array]:
        """Lowest and highest valid value of every input entry [n], [n]; infinite without a range."""
        return bounds(self.clip, math.prod(self.input_shape))

    @property
    def spread(self) -> tuple[Array, Array]:
        """Ends [n], [n] between which inputs are drawn to try a network: the ranges, else -1 to 1."""
        return bounds(self.clip or (-1.0, 1.0), math.prod(self.input_shape))

    @property
    def explained(self) -> str:
        """The map in words."""
        return "the class alone" if self.explanation is None else self.explanation.text

    @property
    def map_size(self) -> int:
        """s, the entries of the map; 0 for none."""
        return self.saliencies - self.question.extra_outputs

    def map_in(self, outputs: Array) -> Array:
        """E [..., s] among outputs [..., logits + saliencies] of the query's network."""
        return outputs[..., self.logits : self.logits + self.map_size]

    def expected_outputs(self, classifier: Network, x: npt.NDArray[Any]) -> Array:
        """What the query's network must give [batch, logits + saliencies] at x [batch, n], by definition."""
        if self.explanation is None:
            found = evaluate(classifier, x.astype(np.float64))
        else:
            found = self.explanation.reference_outputs(classifier, x)
        return np.hstack([found, self.question.extra(found[:, classifier.output_size :])])

    def lines(self) -> Iterator[str]:
        """The facts for people, one a line."""
        yield f"asked: {self.question.text}"
        yield f"E: {self.explained}"
        told = self.model_dump(mode="json", exclude_none=True, exclude={"xhat"})
        if self.clip is not None and len(self.clip) > MOST_RANGES:
            told["clip"] = f"{len(self.clip)} ranges, see manifest.json"
        yield from _lines("", told)


def _lines(prefix: str, value: Mapping[str, Any]) -> Iterator[str]:
    for key, part in value.items():
        if isinstance(part, Mapping):
            yield from _lines(f"{prefix}{key}.", part)
        else:
            yield f"{prefix}{key}: {part}"


GIVEN = "vnnlib"
"""Family of instances of which nothing is known but their files."""


class Instance(Record):
    """One query of a suite. Paths are relative to the folder of the instance set.

    Of an instance of somebody else's set only its files are known: it has no facts and no classifier.

    Attributes:
        onnx: the query's network; the first one where it has several.
        networks: files of a query's networks by their names in it, where it is over several.
        vnnlib: the text that the query is judged by, in VNN-LIB 1.0 where there is such a text.
        vnnlib2: the text in VNN-LIB 2.0, the same file where there is no other; empty where there is none.
        network: the classifier that is explained; empty where none is known.
        inputs: entries of all inputs, where there are no facts to tell.
        facts: what the instance is about; None where that is not known.
    """

    id: str
    suite: str
    name: str
    onnx: str
    networks: dict[str, str] = Field(default_factory=dict, exclude_if=lambda networks: not networks)
    vnnlib: str
    vnnlib2: str
    network: str
    inputs: int = Field(default=0, exclude_if=lambda inputs: not inputs)
    timeout: float
    operators: tuple[str, ...]
    facts: Facts | None

    @property
    def known(self) -> Facts:
        """The facts of an instance that has some.

        Raises:
            SalverError: it is one of somebody else's set.
        """
        if self.facts is None:
            what = "nothing is known of this instance but its files"
            raise SalverError(what, self.name, "use an instance set of `salver generate`")
        return self.facts

    @property
    def family(self) -> str:
        """Its family."""
        return GIVEN if self.facts is None else self.facts.family

    @property
    def expected(self) -> Truth:
        """The answer that is known."""
        return Truth.UNKNOWN if self.facts is None else self.facts.expected

    @property
    def evidence(self) -> Evidence:
        """How the answer is known."""
        return Evidence.UNKNOWN if self.facts is None else self.facts.evidence

    @property
    def subject(self) -> str:
        """Name of the network that it is about: the classifier, or else the query's own."""
        return Path(self.onnx).stem if self.facts is None else self.facts.network

    @property
    def input_size(self) -> int:
        """Entries of all inputs."""
        return self.inputs if self.facts is None else math.prod(self.facts.input_shape)

    @property
    def named_networks(self) -> Mapping[str, str]:
        """The files of the query's networks by name in it, which is empty for a lone one without."""
        return self.networks or {"": self.onnx}

    @property
    def network_files(self) -> tuple[str, ...]:
        """The files of the query's networks, each once."""
        return tuple(dict.fromkeys((self.onnx, *self.networks.values())))

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that belongs to it, each once."""
        named = (*self.network_files, self.vnnlib, self.vnnlib2, self.network)
        return tuple(dict.fromkeys(name for name in named if name))

    @property
    def versions(self) -> frozenset[str]:
        """Versions of VNN-LIB in which there is a text."""
        newer = {"2.0"} if self.vnnlib2 else set()
        return frozenset(newer if self.vnnlib == self.vnnlib2 else {"1.0", *newer})


def content_id(networks: Mapping[str, bytes], text: bytes) -> str:
    """Name of a query by its content (16 hex digits).

    Args:
        networks: SHA-256 of every network's file by its name in the text, which is empty for a lone network.
        text: the VNN-LIB text that it is judged by.
    """
    named = (name.encode() + digest for name, digest in networks.items())
    return hashlib.sha256(b"".join(named) + text).hexdigest()[:16]


class DataCard(Record):
    """What a set says of data of one's own, which is not published with it.

    Attributes:
        name: as `Facts.dataset` has it.
        sha256: of its arrays; see `Dataset`.
        classes, features: in the order of the logits and of the inputs; empty where they have no names.
    """

    name: str
    sha256: str
    classes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()


class Manifest(Record):
    """`manifest.json` of an instance set; `recipe` is a hash of the suite and of the files it was made from.

    `data` describes data that is not in the catalogue.
    """

    suite: str
    version: str
    seed: int
    title: str
    description: str
    salver: str
    recipe: str
    data: tuple[DataCard, ...] = Field(default=(), exclude_if=lambda cards: not cards)
    instances: tuple[Instance, ...]


def refuse_twins(instances: Iterable[Instance]) -> None:
    """Raises a SalverError where two instances have one content: their results could not be told apart."""
    seen: dict[str, str] = {}
    for instance in instances:
        if instance.id in seen:
            what = f"instances {seen[instance.id]} and {instance.name} have the same content"
            raise SalverError(what, instance.suite, "remove one of them from the set")
        seen[instance.id] = instance.name
