"""The generator contract: an instance family is one drop-in file that yields drafts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from salver.core.records import Record
from salver.families.instance import DataCard, Facts
from salver.families.named_files import files_named
from salver.nets.network import Network
from salver.nets.onnx.file import files_of
from salver.spec import Property


class Parameters(Record):
    """Base of every family's parameters; the engine sets `data_dir` from the command line.

    `wanted` says how many points are asked for; 0 where a family does not count them.

    A field's description is its documentation: `salver families` prints it.
    """

    data_dir: Path | None = Field(default=None, description="the user's data folder")

    @property
    def wanted(self) -> int:
        """How many points are asked for."""
        return 0

    def unused(self, used: Collection[int]) -> str:
        """What to say where some points asked for give no instance.

        Args:
            used: indices of those that do.
        """
        return f"{len(used)} of the {self.wanted} points asked for; no other can be used"


@dataclass(frozen=True, eq=False)
class InstanceDraft:
    """One query before it is written.

    Attributes:
        name: file stem of the VNN-LIB file; unique within a suite.
        classifier, classifier_name: the original network, kept so that a judge can recompute gradients.
        graph, graph_name: the network of the query; drafts with one `graph_name` share one ONNX file.
        prop: input box and output condition.
        facts: what the instance is about.
        card: of data of one's own.
        timeout: wall seconds; None takes the suite's.
    """

    name: str
    classifier: Network
    classifier_name: str
    graph: Network
    graph_name: str
    prop: Property
    facts: Facts
    timeout: float | None = None
    card: DataCard | None = None

    @property
    def family(self) -> str:
        """Its family."""
        return self.facts.family

    @property
    def subject(self) -> str:
        """Name of the network that it is about."""
        return self.facts.network

    def with_facts(self, **changes: object) -> InstanceDraft:
        """The same with other facts, such as an answer that was built in."""
        return replace(self, facts=self.facts.model_copy(update=changes))


BY_QUESTION = "What the chosen question says."
"""What falsified means in a family that asks several questions: each of them says it."""


class Generator(ABC):
    """Declares one instance family.

    Attributes:
        name: key in `benchmarks/*.toml`.
        title: one line for people: which map, and what is asked of it.
        falsified: what a falsified instance means for somebody who relies on the explanation, in a sentence.
        parameters: record of the options a suite may set; unknown ones are errors.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    falsified: ClassVar[str] = ""
    parameters: ClassVar[type[Parameters]]

    def files(self, params: Any) -> Iterator[Path]:
        """The files that the instances are made from: a set is made again when one of them has changed.

        Those that the parameters name, and the weights beside a network, unless a family says otherwise.
        `data_dir` is no such file: the sets in it have pinned contents.
        """
        for file in files_named(params.model_dump(exclude={"data_dir"})):
            yield from files_of(file)

    @abstractmethod
    def instances(self, params: Any, seed: int) -> Iterator[InstanceDraft]:
        """Yields the drafts in a fixed order; the same `params` and `seed` give the same drafts.

        Raises:
            SalverError: missing data, or parameters that allow no instance.
        """
