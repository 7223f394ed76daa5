"""An instance set and the records of a run, as the judge and the report work on them.

Files are read when something first asks for them, and once: whoever needs an instance takes the loaded one
and asks it for its query, its networks or its data, instead of opening files again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from salver.core.confined import read_inside
from salver.core.errors import SalverError
from salver.families.instance import DataCard, Facts, Instance
from salver.families.instance_set import read_manifest
from salver.nets.network import Network
from salver.nets.onnx.file import self_contained
from salver.nets.onnx.reader import read_onnx
from salver.nets.operators import Relu
from salver.nets.runtime import Runtime
from salver.runners.answers import RunRecord
from salver.spec import Property, read_vnnlib
from salver.spec.terms import TermQuery, read_term_query
from salver.zoo.datasets import NAMES, Dataset, load

Array = npt.NDArray[np.float64]
MOST_WITNESS_BYTES = 64 << 20
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class LoadedSet:
    """An instance set on disk.

    Networks and data sets stay in memory once they are read; of the queries only the last few do, since a
    large set has thousands and those who ask come to one instance after another.

    Attributes:
        folder: where its files are.
        by_id: what its manifest says of each instance.
        data_dir: the user's data folder, as for `salver.zoo.datasets.load`.
        cards: of data of people's own, by its name.
    """

    folder: Path
    by_id: Mapping[str, Instance]
    data_dir: Path | None = None
    cards: Mapping[str, DataCard] = field(default_factory=dict)
    _kept: dict[tuple[str, str], object] = field(default_factory=dict)

    def __getitem__(self, key: str) -> LoadedInstance:
        """The instance of this id; KeyError where there is none."""
        return LoadedInstance(self.by_id[key], self)

    @cached_property
    def query(self) -> Callable[[str], Property]:
        """Reads a query by the path of its VNN-LIB 1.0 text in the set."""
        return lru_cache(16)(lambda path: read_vnnlib(self.folder / f"{path}.gz"))

    @cached_property
    def stated(self) -> Callable[[str], TermQuery]:
        """Reads a query with everything that its text may say, by the text's path in the set."""
        return lru_cache(16)(lambda path: read_term_query(self.folder / f"{path}.gz"))

    def network(self, path: str) -> Network:
        """The network in a file of the set.

        Raises:
            SalverError: it cannot be read.
        """
        return self._once(("network", path), lambda: read_onnx(self.folder / path))

    def runtime(self, path: str) -> Runtime:
        """The network in a file of the set, in ONNX Runtime.

        Raises:
            SalverError: it cannot be read. RuntimeError: it cannot be run.
        """
        return self._once(("runtime", path), lambda: Runtime(self_contained(self.folder / path)))

    def data(self, name: str) -> Dataset | None:
        """A data set; None where it is not on this machine."""

        def found() -> Dataset | None:
            try:
                return load(name, self.data_dir) if name in NAMES else None
            except SalverError:
                return None

        return self._once(("data", name), found)

    def _once(self, key: tuple[str, str], make: Callable[[], T]) -> T:
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]  # type: ignore[return-value]


def read_set(folder: Path, data_dir: Path | None = None) -> LoadedSet:
    """The instance set in a folder.

    Raises:
        SalverError: see `read_manifest`.
    """
    manifest = read_manifest(folder)
    instances = {instance.id: instance for instance in manifest.instances}
    return LoadedSet(folder, instances, data_dir, {card.name: card for card in manifest.data})


@dataclass(frozen=True)
class EntryNames:
    """Names of input entries and classes; empty where they have none or are not on this machine."""

    features: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class LoadedInstance:
    """An instance with what its files hold.

    Attributes:
        record: what the manifest says of it.
        within: its set.
    """

    record: Instance
    within: LoadedSet

    @property
    def facts(self) -> Facts:
        """What the instance is about. Raises: SalverError: see `Instance.known`."""
        return self.record.known

    @property
    def onnx(self) -> Path:
        """File of the query's network, X [1, n] -> Y [1, m + s]."""
        return self.within.folder / self.record.onnx

    @property
    def query(self) -> Property:
        """Its box and output condition.

        Raises:
            SalverError: the file cannot be read.
        """
        return self.within.query(self.record.vnnlib)

    @property
    def classifier(self) -> Network:
        """The network that is explained, X [n] -> logits [m].

        Raises:
            SalverError: the file cannot be read.
        """
        return self.within.network(self.record.network)

    @property
    def stated(self) -> TermQuery:
        """The query with everything that its text may say.

        Raises:
            SalverError: the file cannot be read, or says what we do not read.
        """
        return self.within.stated(self.record.vnnlib)

    @property
    def explained_file(self) -> str:
        """The file of the classifier; that of the query's first network where none is known."""
        return self.record.network or self.record.onnx

    @property
    def neurons(self) -> int:
        """ReLU neurons of the classifier, or else of the query's network; 0 where it cannot be read."""
        try:
            nodes = self.within.network(self.explained_file).nodes
        except SalverError:
            return 0
        return sum(math.prod(node.shape) for node in nodes if isinstance(node.operator, Relu))

    @cached_property
    def names(self) -> EntryNames:
        """Names of entries and classes: those of the set, else those of a table of the catalogue."""
        facts = self.facts
        found: DataCard | Dataset | None = self.within.cards.get(facts.dataset)
        if found is None and len(facts.input_shape) == 1:
            found = self.data
        if found is None:
            return EntryNames()
        fits = len(found.features) == math.prod(facts.input_shape), len(found.classes) == facts.logits
        return EntryNames(found.features if fits[0] else (), found.classes if fits[1] else ())

    @property
    def data(self) -> Dataset | None:
        """The data set of xhat; None where it is not on this machine."""
        return self.within.data(self.facts.dataset)

    def outputs(self, x: Array) -> Array:
        """Outputs [m + s] of the query's network at x [n], by ONNX Runtime.

        Raises:
            SalverError: the network cannot be read or run.
        """
        try:
            return self.within.runtime(self.record.onnx).outputs(x)
        except RuntimeError as error:
            where, hint = str(self.onnx), "generate the set again"
            raise SalverError("ONNX Runtime cannot run it", where, hint) from error


@dataclass(frozen=True, eq=False)
class StoredRun:
    """What is judged of a run.

    Attributes:
        folder: of the run, with `logs/` and `cex/`.
        instances: the set that it was made from.
        records: one for each finished job, in order; a solver under several settings has several names.
    """

    folder: Path
    instances: LoadedSet
    records: Sequence[RunRecord]

    def witness(self, record: RunRecord) -> str | None:
        """The text of a record's witness with plain line ends; None where it has none.

        Raises:
            OSError: it cannot be read.
        """
        if not record.witness:
            return None
        content = read_inside(self.folder, record.witness, MOST_WITNESS_BYTES)
        return content.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")
