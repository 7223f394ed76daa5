"""`scripts/gpu_check.sh`: whether solvers on CUDA answer as on the CPU, and how much sooner.

Exit status: 0 where all answers agree, 1 where some contradict each other, 3 without a CUDA device.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from experiments.bench_report import BenchReport, commit
from experiments.soundness.queries import draw
from salver.core.errors import SalverError
from salver.core.project import project_root
from salver.families.generate import families_of
from salver.families.suite import read_suite
from salver.nets.onnx.writer import to_bytes, to_model
from salver.run.machine import package_versions, processor
from salver.solvers.query import Budget, Options, Query, Result, Verdict
from salver.solvers.registry import SOLVERS
from salver.spec import to_vnnlib1

NO_DEVICE = 3
QUERIES, QUERY_LIMIT_S = 50, 2.0
CORRECTNESS_S, TOTAL_S = 200.0, 450.0
"""After how many seconds no more queries are asked, and no more networks: under eight minutes in all."""
LIFTED_LIMIT_S = 10.0
SUITE = "lifted"
CHECKED = tuple(name for name, solver in SOLVERS.items() if "cuda" in solver.devices)
DECIDED = {Verdict.SAT, Verdict.UNSAT}
_NODES = re.compile(r"^nodes (\d+)", re.MULTILINE)

Say = Callable[[str], None]


@dataclass(frozen=True)
class TimedAnswer:
    """What one process said: the first line, wall seconds, and nodes where it says how many."""

    verdict: str
    seconds: float
    nodes: int | None


def main(arguments: Sequence[str]) -> int:
    """Runs all of it; the only argument is the device, `cuda` where none is given."""
    device = arguments[0] if arguments else "cuda"
    began, card = time.monotonic(), card_of(device)
    if card is None:
        import torch

        print(f"gpu_check: torch {torch.__version__} finds no CUDA device; nothing was checked")
        return NO_DEVICE
    report = BenchReport("gpu_check", partial(print, flush=True))
    report.text(f"Commit {commit()}, {time.strftime('%Y-%m-%d', time.gmtime())}. {card}. {versions()}")
    table, contradictions = correctness(device, began + CORRECTNESS_S)
    report.heading("Answers beside those of the CPU")
    report.table(table)
    for line in contradictions:
        report.text(line)
    try:
        speed = speed_table(device, began + TOTAL_S)
        report.heading("Nodes a second and time to the answer")
        report.table(speed)
    except SalverError as error:
        report.text(f"lifted sets: skipped: {error}")
    report.write(project_root() / "reports", "gpu-check", "gpu-check")
    return 1 if contradictions else 0


def card_of(device: str) -> str | None:
    """Name, memory and driver of the device; the processor for `cpu`, None without a CUDA device."""
    import torch

    if device == "cpu":
        return processor()
    if not torch.cuda.is_available():
        return None
    found = torch.cuda.get_device_properties(0)
    return f"{found.name}, {found.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}; {processor()}"


def versions() -> str:
    """Python and packages."""
    packages = ", ".join(f"{name} {version}" for name, version in package_versions().items())
    return f"Python {sys.version.split()[0]}, {packages}."


def correctness(
    device: str, until: float, count: int | None = None, solvers: Sequence[str] = CHECKED
) -> tuple[pd.DataFrame, list[str]]:
    """Random small queries, dense, convolutional and residual, on the CPU and on the device.

    Args:
        until: by `time.monotonic()`; each solver is asked an equal share of the time before it.

    Returns:
        One row a solver, and one line for each contradiction: sat here and unsat there.
    """
    rows, contradictions, since = [], list[str](), time.monotonic()
    for number, name in enumerate(solvers, 1):
        found, last = Counter[str](), since + (until - since) * number / len(solvers)
        for seed in range(QUERIES if count is None else count):
            if time.monotonic() > last:
                break
            here, there = _both(name, seed, device)
            kind = _kind(here, there)
            found[kind] += 1
            if kind == "contradictions":
                contradictions.append(f"{name}, query {seed}: {here} on the CPU, {there} on {device}")
        counts = {kind: str(found[kind]) for kind in ("same", "undecided", "contradictions")}
        rows.append({"solver": name, "queries": str(found.total())} | counts)
    return pd.DataFrame(rows), contradictions


def _kind(here: Verdict, there: Verdict) -> str:
    """Which column of the table two verdicts count in."""
    if not {here, there} <= DECIDED:
        return "undecided"
    return "same" if here is there else "contradictions"


def _both(name: str, seed: int, device: str) -> list[Verdict]:
    """What a solver says of a random query on the CPU and on the device."""
    with tempfile.TemporaryDirectory(prefix="salver-") as folder:
        query = draw(Path(folder), seed).query
        return [_solved(name, query, where).verdict for where in ("cpu", device)]


def _solved(name: str, query: Query, device: str) -> Result:
    return SOLVERS[name].load()(query, Budget(QUERY_LIMIT_S), Options(device=device))


def speed_table(device: str, until: float, solver: str = "hybrid") -> pd.DataFrame:
    """One query of every network of the lifted sets, on the CPU and on the device.

    Args:
        until: by `time.monotonic()`; networks that it leaves no time for are left out.

    Raises:
        SalverError: the data are missing.
    """
    rows = []
    with tempfile.TemporaryDirectory(prefix="salver-") as folder:
        for network, query, model in lifted_queries(Path(folder)):
            if until - time.monotonic() < 2 * LIFTED_LIMIT_S:
                break
            row = {"network": network}
            for where in ("cpu", device):
                answer = answered(solver, query, model, where)
                row |= {
                    f"{where}: answer": answer.verdict,
                    f"{where}: seconds": f"{answer.seconds:.2f}",
                    f"{where}: nodes/s": "-"
                    if answer.nodes is None
                    else f"{answer.nodes / answer.seconds:.1f}",
                }
            rows.append(row)
    return pd.DataFrame(rows)


def lifted_queries(folder: Path) -> Iterator[tuple[str, Path, Path]]:
    """Of every network the whole box with the larger tolerance: its name, the query and the graph."""
    suite = read_suite(SUITE)
    for family in families_of(suite):
        last = {asked.posed.factory.name: asked for asked in family.generator.asked(family.params)}
        for name, asked in last.items():
            query, model = folder / f"{len(list(folder.iterdir()))}.vnnlib", folder / f"{name}.onnx"
            query.write_text(to_vnnlib1(asked.posed.prop(asked.region)))
            model.write_bytes(to_bytes(to_model(asked.posed.graph)))
            yield name, query, model


def answered(solver: str, query: Path, model: Path, device: str) -> TimedAnswer:
    """The answer of a process of its own, start included."""
    command = [
        sys.executable,
        "-m",
        "salver.solvers",
        solver,
        "verify",
        str(query),
        "--network",
        f"N={model}",
    ]
    since = time.monotonic()
    done = subprocess.run(
        [*command, "--timeout", f"{LIFTED_LIMIT_S:g}", "--device", device],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    nodes = _NODES.findall(done.stderr)
    words = done.stdout.split()
    return TimedAnswer(
        words[0] if words else "error", time.monotonic() - since, int(nodes[-1]) if nodes else None
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
