"""A run's results in the form of VNN-COMP 2026, as the competition's scoring scripts take them.

One folder for each tool and benchmark, with `results.csv` and the witnesses; on demand also the benchmark,
from which the scripts read timeouts and queries (repository VNN-COMP/vnncomp2026_results, folder `SCORING`).
"""

from __future__ import annotations

import csv
import gzip
import io
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from salver.core.confined import read_inside
from salver.core.errors import SalverError, file_error
from salver.core.files import refuse_existing, refuse_missing_parent
from salver.families.instance import Instance
from salver.judge.judged import Judged
from salver.judge.loaded import LoadedInstance
from salver.judge.scoring import per_instance, results_frame
from salver.judge.witness import MalformedWitness, parse_witness
from salver.nets.onnx.file import MOST_BYTES
from salver.report.tables import solver_file_name, vnncomp_result
from salver.run.loaded import LoadedRun
from salver.runners.answers import Claim, RunRecord

TARGETS = ("vnncomp2026",)
YEAR = "2026"
BENCHMARKS = f"vnncomp{YEAR}_benchmarks/benchmarks"
"""Where the rows say that benchmarks are; the scripts read the version out of the path behind it."""


@dataclass(frozen=True)
class ExportSummary:
    """What was written: the benchmark, its version of VNN-LIB, rows and witnesses by tool, and notes."""

    benchmark: str
    version: str
    rows: Mapping[str, int]
    witnesses: Mapping[str, int]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _BenchmarkEntry:
    """An instance, with its files as the benchmark has them and the longest limit it was run under."""

    loaded: LoadedInstance
    networks: Mapping[str, str]
    query: str
    limit: float

    @property
    def witness(self) -> str:
        """File name of a witness, as the scripts look for it."""
        names = [name for name in self.networks if name]
        network = "_".join(names) if names else PurePosixPath(self.networks[""]).stem
        # In one benchmark of VNN-COMP two folders have queries of the same names.
        folder = next((f"{part}_" for part in ("medical", "ruarobot") if self._is_safenlp(part)), "")
        return f"{folder}{network}_{PurePosixPath(self.query).stem}.counterexample.gz"

    def _is_safenlp(self, part: str) -> bool:
        return "safenlp" in self.loaded.record.suite and part in next(iter(self.networks.values()))

    def network_field(self, folder: str = "") -> str:
        """The networks as a row of `results.csv` or `instances.csv` has them."""
        placed = [(name, folder + path) for name, path in self.networks.items()]
        return str(placed) if placed[0][0] else placed[0][1]


def export_vnncomp(judged: Judged[LoadedRun], into: Path, benchmarks: Path | None = None) -> ExportSummary:
    """Writes a judged run into `into`/TOOL/2026_BENCHMARK/, whole or not at all.

    Of several repetitions the one that the leaderboard counts is written (`per_instance`). A witness is
    written with every number as the solver gave it, and with the outputs of ONNX Runtime; one that cannot be
    read is an empty file, which the scripts hold against the solver as the judge does.

    Args:
        into: a folder that is not there yet, as the repository of results is.
        benchmarks: one that is not there yet, as the repository of benchmarks is; None writes none.

    Raises:
        SalverError: a folder is there; the run is unfinished; two instances would share a file; a query has
            no text in the version that others have; a file cannot be read or written.
    """
    for folder in filter(None, (into, benchmarks)):
        refuse_missing_parent(folder)
        refuse_existing(folder)
    run = judged.run
    if run.coverage.unfinished:
        what = f"is unfinished ({run.coverage.fraction}), and rows that are missing would count as unknown"
        raise SalverError(what, str(run.folder), "go on with --resume first")
    version, suite, notes = _version(run), run.manifest.suite, _notes(run)
    entries = _entries(run, version)
    counted = per_instance(results_frame(judged.rows))
    tools: dict[str, list[_ToolResult]] = {
        str(solver): _results(own, entries, run) for solver, own in counted.groupby("solver", sort=True)
    }
    with _whole(into) as results:
        for tool, found in tools.items():
            folder = results / solver_file_name(tool) / f"{YEAR}_{suite}"
            folder.mkdir(parents=True)
            (folder / "results.csv").write_text(_rows(found, f"{BENCHMARKS}/{suite}/{version}/", suite))
            for one in filter(lambda one: one.word == Claim.SAT, found):
                text = _witness(run, one, version)
                (folder / one.entry.witness).write_bytes(gzip.compress(text.encode(), mtime=0))
        (results / "README.md").write_text("".join(f"{line}\n\n" for line in notes))
        if benchmarks is not None:
            with _whole(benchmarks) as sets:
                _write_benchmark(sets / "benchmarks" / suite / version, entries, version)
    return ExportSummary(
        suite,
        version,
        {tool: len(found) for tool, found in tools.items()},
        {tool: sum(one.word == Claim.SAT for one in found) for tool, found in tools.items()},
        notes,
    )


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A fresh folder that takes the name of `folder` at the end, if all went well."""
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.absolute().parent))
    try:
        yield partial
        partial.chmod(0o755)
        partial.rename(folder)
    except OSError as error:
        raise file_error(error, folder) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _version(run: LoadedRun) -> str:
    """The version of VNN-LIB that every query has a text in; 1.0 before 2.0.

    Raises:
        SalverError: there is none.
    """
    common = frozenset.intersection(*(one.versions for one in run.instances.by_id.values()))
    if not common:
        hint = "run those of one version by themselves (--only)"
        raise SalverError("has queries in VNN-LIB 1.0 alone and in 2.0 alone", str(run.folder), hint)
    return min(common)


def _entries(run: LoadedRun, version: str) -> list[_BenchmarkEntry]:
    """The instances in the order of their set, which is that of every tool's rows.

    Raises:
        SalverError: two of them would have their witnesses in one file.
    """
    limits: dict[str, float] = {}
    for record in run.records:
        limits[record.instance_id] = max(record.limit_s, limits.get(record.instance_id, 0.0))
    entries = [
        _BenchmarkEntry(
            run.instances[key], _networks(one), _below("vnnlib", _text_of(one, version)), limits[key]
        )
        for key, one in run.instances.by_id.items()
    ]
    seen: dict[str, str] = {}
    for entry in entries:
        name = entry.loaded.record.name
        if (twin := seen.setdefault(entry.witness, name)) != name:
            what = f"instances {twin} and {name} would have their witnesses in one file"
            raise SalverError(what, str(run.folder), "rename a query in its set, and run again")
    return entries


def _text_of(instance: Instance, version: str) -> str:
    return instance.vnnlib if version == "1.0" else instance.vnnlib2


def _networks(instance: Instance) -> dict[str, str]:
    return {name: _below("onnx", path) for name, path in instance.named_networks.items()}


def _below(folder: str, path: str) -> str:
    """The path inside `folder`, where the scripts look for it; ours has `vnnlib2/` for texts of 2.0."""
    parts = PurePosixPath(path).parts
    own = parts[1:] if len(parts) > 1 and parts[0] in (folder, f"{folder}2") else parts
    return "/".join((folder, *own))


@dataclass(frozen=True)
class _ToolResult:
    """What a tool made of an instance: VNN-COMP's word, wall seconds, and the record behind it."""

    entry: _BenchmarkEntry
    word: str
    wall_s: float
    record: RunRecord


def _results(own: pd.DataFrame, entries: Sequence[_BenchmarkEntry], run: LoadedRun) -> list[_ToolResult]:
    """One solver's results, one for each instance, in their order."""
    records = {record.key: record for record in run.records}
    rows = {str(row["instance_id"]): row for row in own.to_dict("records")}
    found = [(entry, rows[entry.loaded.record.id]) for entry in entries]
    return [
        _ToolResult(
            entry,
            vnncomp_result(str(row["outcome"]), str(row["claim"])),
            float(row["wall_s"]),
            records[str(row["key"])],
        )
        for entry, row in found
    ]


def _rows(found: Sequence[_ToolResult], place: str, suite: str) -> str:
    """`results.csv`: category, network, query, seconds to prepare (part of the run here), result, seconds."""
    return _csv(
        [
            suite, one.entry.network_field(place), place + one.entry.query, "0.0", one.word,
            f"{one.wall_s:.3f}",
        ]
        for one in found
    )  # fmt: skip


def _csv(rows: Iterable[Sequence[str]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()


def _witness(run: LoadedRun, result: _ToolResult, version: str) -> str:
    """The witness as the scripts can read it; empty where it says no point.

    In VNN-LIB 2.0 it is as the solver wrote it.
    """
    try:
        text = run.witness(result.record) or ""
    except OSError:
        return ""
    if version != "1.0":
        return text
    try:
        x = parse_witness(text, _inputs(result.entry.loaded))
    except (MalformedWitness, SalverError):
        return ""
    try:
        y = result.entry.loaded.outputs(x).tolist()
    except SalverError:
        y = []
    values = [(f"X_{n}", value) for n, value in enumerate(x.tolist())]
    values += [(f"Y_{n}", value) for n, value in enumerate(y)]
    return "(" + "\n".join(f"({name} {value!r})" for name, value in values) + ")\n"


def _inputs(loaded: LoadedInstance) -> int:
    """Entries of X of a query in VNN-LIB 1.0."""
    if loaded.record.facts is not None:
        return len(loaded.query.input_lower)
    return sum(tensor.size for tensor in loaded.stated.tensors if tensor.role == "input")


def _write_benchmark(folder: Path, entries: Sequence[_BenchmarkEntry], version: str) -> None:
    """The instances of a run as a benchmark, with the limits that they were run under."""
    listed = [[one.network_field(), one.query, f"{one.limit:g}"] for one in entries]
    (folder / "onnx").mkdir(parents=True)
    (folder / "vnnlib").mkdir()
    (folder / "instances.csv").write_text(_csv(listed))
    files: dict[str, str] = {}
    for one in entries:
        record = one.loaded.record
        sources = record.named_networks.values()
        files |= dict(zip(one.networks.values(), sources, strict=True))
        files[f"{one.query}.gz"] = f"{_text_of(record, version)}.gz"
    for name, source in files.items():
        data = read_inside(entries[0].loaded.within.folder, source, MOST_BYTES)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def _notes(run: LoadedRun) -> tuple[str, ...]:
    made = run.manifest
    notes = [
        f"The run {run.folder.name} of {made.suite}, begun {made.started}, by salver {made.salver}. "
        "Seconds are wall time, and preparing is part of it.",
        *run.notices,
    ]
    most = 1 + max((record.repetition for record in run.records), default=0)
    if most > 1:
        notes.append(
            f"Every job was run {most} times. The row is that of the repetition that the leaderboard counts: "
            "the median of them, or a wrong one where any is wrong."
        )
    return tuple(notes)
