"""What a witness shows: xhat with its saliency map and the witness with its own, ready to be drawn.

For the families on the vanilla gradient this is the meaning of `falsified`: nearly the same map, another
class. Numbers only; pictures are made by whoever shows them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from salver.families.instance import Facts, Instance
from salver.judge.judgement import JudgedRun, Outcome, WitnessVerdict
from salver.judge.loaded import LoadedInstance, StoredRun
from salver.judge.maps import map_at_xhat, map_of_outputs, map_shape
from salver.judge.witness import replay
from salver.runners.answers import RunRecord
from salver.spec import Property, norm_of
from salver.zoo.datasets import Clip, Dataset

Array = npt.NDArray[np.float64]
SAME_BOX = 1e-5
"""A row of a data set is xhat where the instance's box is the one around it up to this."""


@dataclass(frozen=True, eq=False)
class WitnessView:
    """xhat and a witness of one instance, side by side.

    Attributes:
        instance: whose facts say what was asked.
        solver: who found the witness.
        x, witness: inputs [n], in the units of the data.
        x_from: `data`, or `box` where the data set is not on this machine and xhat was read off the
            instance's box (where the box is cut off on both sides its middle is taken).
        x_map, witness_map: the saliency maps [s] that the query compares.
        input_shape, map_shape: shapes before flattening, such as (1, 28, 28) and (28, 28); (n,) for a table.
        x_class, witness_class: names of the winning classes; at a tie another one than the label.
        features: names of the input entries; empty for images.
        clip: lowest and highest value of the input entries.
    """

    instance: Instance
    solver: str
    x: Array
    witness: Array
    x_from: Literal["data", "box"]
    x_map: Array
    witness_map: Array
    input_shape: tuple[int, ...]
    map_shape: tuple[int, ...]
    x_class: str
    witness_class: str
    features: tuple[str, ...]
    clip: Clip

    @property
    def input_distance(self) -> float:
        """How far the witness is from xhat in the norm of the instance."""
        return float(norm_of(self.witness - self.x, self.instance.known.norm))

    @property
    def map_distance(self) -> float:
        """Largest change of an entry of the map."""
        return float(np.abs(self.witness_map - self.x_map).max())


def view(instance: LoadedInstance, solver: str, text: str) -> WitnessView | None:
    """The view of a witness as printed, or None: no map is part of the query, or it does not replay.

    Raises:
        SalverError: a file of the set cannot be read.
    """
    if instance.record.facts is None or not instance.facts.map_size:
        return None
    facts = instance.facts
    prop = instance.query
    replayed = replay(instance.onnx, prop, text)
    if replayed.verdict not in (WitnessVerdict.CORRECT, WitnessVerdict.UP_TO_TOLERANCE):
        return None
    witness, outputs = np.array(replayed.point), np.array(replayed.outputs)
    data = instance.data
    row = None if data is None else _row_in(data, facts, prop)
    box = prop.input_lower, prop.input_upper
    x = row if row is not None else prop.ball.centre if prop.ball else centre_of_box(*box, facts)
    at_x, at_witness = map_at_xhat(instance, x), map_of_outputs(facts, outputs)
    names = instance.names.classes
    return WitnessView(
        instance=instance.record,
        solver=solver,
        x=x,
        witness=witness,
        x_from="box" if row is None else "data",
        x_map=at_x.map,
        witness_map=at_witness.map,
        input_shape=facts.input_shape,
        map_shape=map_shape(instance),
        x_class=names[at_x.label] if names else str(at_x.label),
        witness_class=names[at_witness.label] if names else str(at_witness.label),
        features=instance.names.features,
        clip=facts.clip or (float(prop.input_lower.min()), float(prop.input_upper.max())),
    )


def stored_view(run: StoredRun, record: RunRecord) -> WitnessView | None:
    """The view of a record's stored witness; None as for `view`, or where nothing readable is stored.

    Raises:
        SalverError: as `view`.
    """
    try:
        text = run.witness(record)
    except OSError:
        return None
    return None if text is None else view(run.instances[record.instance_id], record.solver, text)


def chosen_witnesses(
    judged: Iterable[JudgedRun], instances: Mapping[str, Instance], per_group: int = 3
) -> list[JudgedRun]:
    """At most `per_group` falsified instances of each family and network, with a correct witness each.

    Different test points come first, and the tightest tolerances on the map; of several solvers that
    falsified an instance the first by name is taken. The order is that of the instances.
    """
    found: dict[str, JudgedRun] = {}
    for one in judged:
        correct = one.judgement.witness is WitnessVerdict.CORRECT
        if one.judgement.outcome is not Outcome.FALSIFIED or not correct or one.run.witness is None:
            continue
        held = found.get(one.run.instance_id)
        if held is None or (one.run.solver, one.run.repetition) < (held.run.solver, held.run.repetition):
            found[one.run.instance_id] = one
    groups: dict[tuple[str, str], list[Instance]] = defaultdict(list)
    for instance in instances.values():
        if instance.id in found and instance.facts is not None and instance.facts.map_size:
            groups[instance.family, instance.subject].append(instance)
    chosen: set[str] = set()
    for members in groups.values():
        seen: defaultdict[int, int] = defaultdict(int)
        rounds: list[tuple[int, int, str]] = []
        for instance in sorted(members, key=_tolerance):
            rounds.append((seen[instance.known.index], len(rounds), instance.id))
            seen[instance.known.index] += 1
        chosen |= {name for _, _, name in sorted(rounds)[:per_group]}
    return [found[name] for name in instances if name in chosen]


def _tolerance(instance: Instance) -> float:
    share = instance.known.vacuity.delta_over_saliency
    return float("inf") if share is None else share


def centre_of_box(low: Array, high: Array, facts: Facts) -> Array:
    """xhat [n] from the box |x - xhat|_inf <= epsilon within the data range; its middle where both sides
    of an entry are cut off. What the facts state goes before."""
    if facts.xhat is not None and len(facts.xhat) == len(low):
        return np.array(facts.xhat)
    floor, ceiling = facts.limits
    whole_low, whole_high = low > floor, high < ceiling
    from_sides = np.where(whole_low, low + facts.epsilon, high - facts.epsilon)
    centre = np.where(whole_low == whole_high, (low + high) / 2, from_sides)
    return np.asarray(np.clip(centre, low, high).astype(np.float32), np.float64)


def _row_in(data: Dataset, facts: Facts, prop: Property) -> Array | None:
    """The test row the instance names, where the instance's box is the one around it."""
    if facts.index >= len(data.test_x):
        return None
    row = data.test_x[facts.index].astype(np.float64)
    if row.shape != prop.input_lower.shape:
        return None
    floor, ceiling = facts.limits
    low, high = np.maximum(row - facts.epsilon, floor), np.minimum(row + facts.epsilon, ceiling)
    off = max(float(np.abs(low - prop.input_lower).max()), float(np.abs(high - prop.input_upper).max()))
    return row if off <= SAME_BOX else None
