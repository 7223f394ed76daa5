"""`salver bench peers`: which verifiers of others take which family on which kind of network.

One small query of every family on every kind of network (`kinds.py`), of five inputs where that is possible,
so that the answers are enumerated. Some families are asked with 64 inputs as well: tools that split the input
of small queries take another way through the same graph there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import pandas as pd

from experiments.bench_report import BenchReport
from experiments.kinds import KINDS, ImageShape, classifier_of
from experiments.suite_runs import conditions, instance_set, judged_suite
from salver.core.errors import SalverError
from salver.core.files import write_atomically
from salver.families.instance import Instance
from salver.families.suite import FamilyEntry, Suite
from salver.judge.scoring import results_frame
from salver.run.manifest import RunOptions
from salver.runners.foreign.peers import PEERS
from salver.runners.registry import runners

KEY = "peer-kinds"
REFERENCE = "hybrid"
DECIDED = ("verified", "falsified")
TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Size:
    """One size of all networks: the data set whose points are asked about, and the image it is read as."""

    dataset: str
    image: ImageShape
    classes: int
    enumerated: bool


@dataclass(frozen=True)
class PeerQuestion:
    """A family with the parameters of its query, by data set, and the kinds of network it is asked of.

    Attributes:
        label: the row's name in the table.
        params: parameters by data set; a data set that is absent is not asked.
        kinds: None for `PLAIN_KINDS`.
    """

    label: str
    family: str
    params: dict[str, dict[str, Any]]
    kinds: tuple[str, ...] | None = None


SIZES = (Size("bandit", (1, 1, 5), 2, True), Size("digits", (1, 8, 8), 10, False))
PLAIN_KINDS = tuple(kind for kind in KINDS if kind != "conv-dense")  # which is there for its map
QUESTIONS = (
    PeerQuestion("label_robustness", "label_robustness", {"bandit": {"epsilons": [0.1]}}),
    PeerQuestion("vg_box", "vg_box",
                 {"bandit": {"epsilons": [0.3], "deltas": [0.2], "keep_robust": True},
                  "digits": {"epsilons": [0.04], "deltas": [0.05], "keep_robust": True}}),
    PeerQuestion("gradient_sign", "gradient_sign",
                 {"bandit": {"epsilons": [0.2], "levels": [0.0], "count": 1}}),
    PeerQuestion("gradient_width", "gradient_width", {"bandit": {"epsilons": [0.2], "deltas": [0.2]}}),
    PeerQuestion("topk_rank", "topk_rank", {"bandit": {"epsilons": [0.1], "k": 2, "min_open": 0}}),
    PeerQuestion("smoothgrad_topk", "smoothgrad_topk", {"bandit": {"epsilons": [0.1], "k": 2, "draws": 2}}),
    PeerQuestion("cam_topk", "cam_topk",
                 {"bandit": {"epsilons": [0.1], "k": 2}, "digits": {"epsilons": [0.005], "k": 2}},
                 ("average-pooled",)),
    PeerQuestion("cam_topk (Grad-CAM)", "cam_topk",
                 {"bandit": {"epsilons": [0.1], "k": 1, "map": "grad-cam"}},
                 ("convolutional", "conv-dense", "residual", "batch-norm")),
    PeerQuestion("planted_sat", "planted_sat",
                 {"bandit": {"epsilon": 0.1, "attack_rounds": 0, "directions": 2, "wells": 2}}),
    PeerQuestion("planted_unsat", "planted_unsat", {"digits": {"epsilon": 0.02}}),
)  # fmt: skip
_NOT_ENUMERATED = frozenset({"planted_sat", "planted_unsat"})


@dataclass(frozen=True)
class PeerQuery:
    """What one instance of the set is about."""

    label: str
    kind: str
    size: Size


def bench_peers(root: Path, options: RunOptions, say: Callable[[str], None] = print) -> Path:
    """Makes the queries, runs the tools on them and writes the tables; returns the folder written.

    Args:
        options: of the run; `solvers` None means every peer that can run here, and `hybrid` beside them.

    Raises:
        SalverError: no peer can run here, or the run was stopped.
    """
    solvers = options.solvers or (REFERENCE, *available_peers())
    asked = {"solvers": solvers, "cores": options.cores or 1, "timeout": options.timeout or TIMEOUT_S}
    folder = root / "instances" / KEY / "classifiers"
    write_classifiers(folder)
    cells, suite = suite_of(folder)
    made = instance_set(suite, root, None, anew=True)
    judged = judged_suite(suite, made, root, options.model_copy(update=asked))
    frame, asked_of = results_frame(judged.rows), named(cells, made[1].instances)
    order = sorted(judged.run.manifest.solvers, key=lambda name: name != REFERENCE)
    report = BenchReport("salver bench peers", say)
    report.text(f"{conditions(judged.run)} onnx {onnx.__version__}.", printed=False)
    report.table(verdict_table(frame, asked_of, order), "peers")
    report.text("Without a verdict, or with a wrong one:", printed=False)
    report.table(reason_table(frame, asked_of), "peers-reasons", printed=False)
    return report.write(root / "reports", "bench-peers", "peers")


def available_peers() -> tuple[str, ...]:
    """Names of the peers that can run here.

    Raises:
        SalverError: none can.
    """
    known = runners()
    reasons = {name: known[name]().unavailable() for name in PEERS}
    ready = tuple(name for name, reason in reasons.items() if reason is None)
    if not ready:
        why = "; ".join(f"{name} {reason}" for name, reason in reasons.items())
        raise SalverError(f"no verifier of others can run here: {why}", "bench peers", "install one")
    return ready


def write_classifiers(folder: Path) -> None:
    """Writes the classifier of every kind in every size, as `<data set>-<kind>.onnx`."""
    folder.mkdir(parents=True, exist_ok=True)
    for size in SIZES:
        for kind in KINDS:
            model = classifier_of(kind, size.image, size.classes)
            write_atomically(folder / f"{size.dataset}-{kind}.onnx", model.SerializeToString())


def suite_of(classifiers: Path) -> tuple[list[PeerQuery], Suite]:
    """What is asked, and the suite that asks it: one instance an entry, in the same order."""
    cells, entries = [], []
    for cell, question in _asked():
        network = str(classifiers / f"{cell.size.dataset}-{cell.kind}.onnx")
        params = {"network": network, "dataset": cell.size.dataset, "points": 1}
        params |= question.params[cell.size.dataset]
        if cell.size.enumerated and question.family not in _NOT_ENUMERATED:
            params["enumerate"] = True
        cells.append(cell)
        entries.append(FamilyEntry(generator=question.family, params=params))
    title = "Every family on every kind of network, for trying verifiers of others"
    return cells, Suite(key=KEY, title=title, timeout=TIMEOUT_S, family=tuple(entries))


def _asked() -> Iterator[tuple[PeerQuery, PeerQuestion]]:
    for question in QUESTIONS:
        for kind in question.kinds or PLAIN_KINDS:
            for size in SIZES:
                if size.dataset in question.params:
                    yield PeerQuery(question.label, kind, size), question


def named(cells: list[PeerQuery], instances: tuple[Instance, ...]) -> dict[str, PeerQuery]:
    """The cell of every instance by its id; every entry gives one instance."""
    return {instance.id: cell for cell, instance in zip(cells, instances, strict=True)}


def verdict_table(frame: pd.DataFrame, cells: dict[str, PeerQuery], solvers: list[str]) -> pd.DataFrame:
    """One row a family, kind and number of inputs; the outcome of every solver, wrong ones in capitals.

    Args:
        frame: columns instance_id, solver and outcome.
    """
    outcomes = {(row.instance_id, row.solver): str(row.outcome) for row in frame.itertuples()}
    rows = []
    for key, cell in cells.items():
        said = [outcomes.get((key, solver), "-") for solver in solvers]
        words = ["WRONG" if word == "wrong" else word for word in said]
        height, width = cell.size.image[1:]
        rows.append([cell.label, cell.kind, str(height * width), *words])
    return pd.DataFrame(rows, columns=["family", "network", "inputs", *solvers])


def reason_table(frame: pd.DataFrame, cells: dict[str, PeerQuery]) -> pd.DataFrame:
    """Why there is no verdict, or a wrong one: the tool's words, how often and where first."""
    left = frame[~frame["outcome"].isin(DECIDED)]
    rows = []
    for (solver, outcome, detail), part in left.groupby(["solver", "outcome", "detail"], sort=True):
        cell = cells[part["instance_id"].iloc[0]]
        place = f"{cell.label}, {cell.kind}, {cell.size.dataset}"
        rows.append([solver, outcome, detail or "-", str(len(part)), place])
    return pd.DataFrame(rows, columns=["solver", "outcome", "reason", "queries", "first"])
