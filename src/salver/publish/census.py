"""What a set holds, counted: the numbers that its data card and its metadata state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import onnx

from salver.core.errors import SalverError
from salver.families.instance import Instance, Manifest
from salver.nets.onnx.file import load_model
from salver.publish import generate_properties as drawing
from salver.spec.truth import Truth

MOST_SECONDS = 6 * 3600
"""What VNN-COMP allows the timeouts of one benchmark to sum up to."""


@dataclass(frozen=True)
class CensusGroup:
    """The instances of one family and network: how many, how many a seed draws, by known answer.

    `networks` is above 1 where networks with one or two instances are taken together.
    """

    family: str
    network: str
    networks: int
    instances: int
    drawn: int
    sat: int
    unsat: int
    unknown: int
    timeouts: str


@dataclass(frozen=True)
class NetworkFacts:
    """One original network: inputs, classes, and numbers in its file."""

    name: str
    inputs: int
    classes: int
    parameters: int


@dataclass(frozen=True)
class Census:
    """A set in numbers.

    Attributes:
        most_seconds: largest sum of the timeouts that any seed can draw.
        evidence: instances by how their answer is known.
        delta_shares: delta over the largest saliency entry, sorted, of the instances that have one.
        bounded: instances for which sampling found how near a violation is; samples: all points looked at.
        largest_query: inputs and outputs of the largest query network.
    """

    groups: tuple[CensusGroup, ...]
    networks: tuple[NetworkFacts, ...]
    most_seconds: float
    evidence: dict[str, int]
    delta_shares: tuple[float, ...]
    bounded: int
    samples: int
    query_networks: int
    largest_query: tuple[int, int]
    operators: tuple[str, ...]
    tie_rules: tuple[str, ...]
    points: dict[str, int]

    @property
    def drawn(self) -> int:
        """Instances that every seed draws."""
        return sum(group.drawn for group in self.groups)

    @property
    def middle_share(self) -> float | None:
        """Median of `delta_shares`."""
        return median(self.delta_shares) if self.delta_shares else None


def count(manifest: Manifest, networks: Sequence[NetworkFacts]) -> Census:
    """Counts a manifest; `networks` as `network_facts` reads them."""
    instances = manifest.instances
    shares = [i.known.vacuity.delta_over_saliency for i in instances]
    points: dict[str, set[int]] = {}
    for instance in instances:
        points.setdefault(instance.known.dataset, set()).add(instance.known.index)
    sizes = [(int(np.prod(i.known.input_shape)), i.known.logits + i.known.saliencies) for i in instances]
    return Census(
        groups=_groups(instances),
        networks=tuple(networks),
        most_seconds=most_seconds(manifest),
        evidence=dict(sorted(Counter(str(i.known.evidence) for i in instances).items())),
        delta_shares=tuple(sorted(share for share in shares if share is not None)),
        bounded=sum(_is_bounded(i) for i in instances),
        samples=sum(i.known.vacuity.samples for i in instances),
        query_networks=len({i.onnx for i in instances}),
        largest_query=max(sizes, key=lambda size: size[0] + size[1]),
        operators=tuple(sorted({operator for i in instances for operator in i.operators})),
        tie_rules=tuple(sorted({i.known.question.tie_rule for i in instances})),
        points={name: len(indices) for name, indices in sorted(points.items())},
    )


def most_seconds(manifest: Manifest) -> float:
    """The largest sum of timeouts that a seed can draw."""
    plain = [i.model_dump(mode="json") for i in manifest.instances]
    total = 0.0
    for members in drawing.groups(plain).values():
        longest = sorted((float(i["timeout"]) for i in members), reverse=True)
        total += sum(longest[: drawing.quota(len(members))])
    return total


def refuse_unfit(manifest: Manifest, where: str) -> None:
    """Refuses what VNN-COMP would not take.

    Raises:
        SalverError: two files with one stem (upper and lower case are one), timeouts over six hours.
    """
    for kind in ("vnnlib", "onnx", "network"):
        paths = {getattr(i, kind) for i in manifest.instances}
        owners = [getattr(i, kind) for i in manifest.instances] if kind == "vnnlib" else sorted(paths)
        stems = Counter(Path(path).stem.casefold() for path in owners)
        twice = [stem for stem, times in stems.items() if times > 1]
        if twice:
            what = f"{stems[twice[0]]} {kind} files have the stem {twice[0]!r}"
            raise SalverError(what, where, "give the families distinct options")
    seconds = most_seconds(manifest)
    if seconds > MOST_SECONDS:
        what = f"the timeouts of one draw sum up to {seconds / 3600:.2f} h, VNN-COMP allows 6 h"
        raise SalverError(what, where, "lower `timeout` in the suite's file, or ask for fewer points")


def network_facts(folder: Path, manifest: Manifest) -> tuple[NetworkFacts, ...]:
    """Reads the original networks of a set, in the order of their names.

    Raises:
        SalverError: a network cannot be read.
    """
    facts = {i.network: i.known for i in manifest.instances}
    return tuple(
        NetworkFacts(
            Path(path).stem,
            int(np.prod(facts[path].input_shape)),
            facts[path].logits,
            _parameters(load_model(folder / path)),
        )
        for path in sorted(facts)
    )


def _parameters(model: onnx.ModelProto) -> int:
    return sum(int(np.prod(t.dims)) for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT)


def _is_bounded(instance: Instance) -> bool:
    vacuity = instance.known.vacuity
    return vacuity.delta_star_upper is not None or vacuity.epsilon_star_upper is not None


def _groups(instances: Sequence[Instance]) -> tuple[CensusGroup, ...]:
    by_id = {i.id: i for i in instances}
    drawn: Counter[tuple[str, str]] = Counter()
    members: dict[tuple[str, str], list[Instance]] = {}
    for (family, network, _), own in drawing.groups([i.model_dump(mode="json") for i in instances]).items():
        drawn[family, network] += drawing.quota(len(own))
        members.setdefault((family, network), []).extend(by_id[i["id"]] for i in own)
    return tuple(_group(key, own, drawn[key]) for key, own in members.items())


def _group(key: tuple[str, str], own: list[Instance], drawn: int) -> CensusGroup:
    family, network = key
    answers = Counter(i.known.expected for i in own)
    names = sorted({i.known.network for i in own})
    seconds = sorted({i.timeout for i in own})
    return CensusGroup(
        family=family,
        network=network or names[0],
        networks=len(names),
        instances=len(own),
        drawn=drawn,
        sat=answers[Truth.SAT],
        unsat=answers[Truth.UNSAT],
        unknown=answers[Truth.UNKNOWN],
        timeouts="-".join(f"{value:g}" for value in dict.fromkeys((seconds[0], seconds[-1]))),
    )
