"""Campaigns: a solver on many random queries, each answer held against the truth.

Three sources of truth, none of which shares code with a solver: exact enumeration of activation regions
(`oracle.enumerate`), replay by ONNX Runtime, and rational arithmetic at single points (`exact_margin`):

* `unsat` is wrong when a point of the box satisfies the query in rational arithmetic: enumeration's, or where
  the query is too large for it one of some hundred sampled points; there, a point that ONNX Runtime replays
  counts as well.
* `sat` is wrong when its witness is missing, outside the box, not binary32, fails replay at tolerance 0, or
  misses over the reals by more than rounding.
* `unknown` and `timed-out` are never wrong; they are counted beside what enumeration knows, by the cause:
  a threshold that touches an extreme, a tie that only rational arithmetic decides, or another.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from experiments.soundness.queries import TOUCHING, Case
from salver.core.records import Record
from salver.nets.runtime import Runtime
from salver.oracle.enumerate import Enumeration, enumerate_query
from salver.oracle.exact import exact_margin
from salver.solvers.query import Budget, Options, Query, Result, Solver, Verdict
from salver.spec.truth import Truth

Array = npt.NDArray[np.float64]
Draw = Callable[[Path, int], Case]
"""Folder for the network's file, seed -> query; the same for the same seed."""

SAMPLES = 256


class Finding(Record):
    """One query and one answer.

    Attributes:
        seed, label: of the query.
        verdict: the solver's; "raised" when it raised an exception.
        truth: enumeration's, or `sat` by a witness that holds exactly.
        robust, ties, programs: see `Enumeration`.
        complaint: why the answer is wrong; empty when it is not.
        missed: `unknown` or `timed-out` although enumeration has a robust point or a proof without ties.
        rounded: `sat` by a witness that holds in single precision but misses over the reals, by rounding.
        cause: of an undecided query: `touching`, `tie` or `other`.
        reason: the solver's words about an undecided query.
        seconds, truth_seconds: the solver's and enumeration's wall time.
    """

    seed: int
    label: str
    verdict: str
    truth: Truth
    robust: bool = False
    ties: int = 0
    programs: int = 0
    complaint: str = ""
    missed: bool = False
    rounded: bool = False
    cause: str = ""
    reason: str = ""
    seconds: float = 0.0
    truth_seconds: float = 0.0


@dataclass(frozen=True)
class Campaign:
    """Everything a campaign found, in the order of the seeds."""

    findings: tuple[Finding, ...]
    seconds: float

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """The answers that are complained about."""
        return tuple(finding for finding in self.findings if finding.complaint)

    def summary(self) -> str:
        """Counts as plain text: verdicts, truth, kinds of queries, what is undecided and why, time."""
        found = self.findings
        lines = [f"queries {len(found)}  wrong {len(self.wrong)}"]
        lines += [f"  WRONG seed {f.seed} ({f.label}): {f.complaint}" for f in self.wrong]
        lines += ["verdict by truth:", *_table((f.truth.value, f.verdict) for f in found)]
        lines += ["verdict by kind:", *_table((f.label, f.verdict) for f in found)]
        rounded = [f.seed for f in found if f.rounded]
        lines.append(f"sat in single precision alone: {len(rounded)} {rounded[:20]}")
        undecided = [f for f in found if f.verdict not in (Verdict.SAT, Verdict.UNSAT)]
        missed = [f.seed for f in undecided if f.missed]
        lines.append(f"undecided {len(undecided)}, clear to enumeration {len(missed)} {missed[:20]}")
        lines += _table((f"{f.cause}, {f.truth.value}", f.verdict) for f in undecided)
        lines += [f"  {n:6d}  {why}" for why, n in Counter(f.reason for f in undecided).most_common(12)]
        own, truth = (np.array([getattr(f, name) for f in found]) for name in ("seconds", "truth_seconds"))
        if len(found):
            lines.append(
                f"seconds: solver {own.sum():.1f} (median {np.median(own):.4f}, longest {own.max():.2f}), "
                f"enumeration {truth.sum():.1f}, wall {self.seconds:.1f}"
            )
        return "\n".join(lines)


def run_campaign(
    draw: Draw,
    solver: Solver,
    seeds: Iterable[int],
    budget_s: float = 10.0,
    options: Options | None = None,
    jobs: int = 1,
    watch: Callable[[Finding], None] = lambda _: None,
) -> Campaign:
    """Asks the solver every query of the seeds and checks each answer.

    Args:
        draw, solver: functions at the top of a module (they are sent to processes when jobs > 1).
        budget_s: wall seconds per query.
        jobs: processes.
        watch: called with every finding as soon as it is there, in order.
    """
    started = time.monotonic()
    chosen = options or Options()
    findings = []
    for finding in _findings(draw, solver, list(seeds), budget_s, chosen, jobs):
        watch(finding)
        findings.append(finding)
    return Campaign(tuple(findings), time.monotonic() - started)


def _findings(
    draw: Draw, solver: Solver, seeds: list[int], budget_s: float, options: Options, jobs: int
) -> Iterator[Finding]:
    tasks = [(draw, solver, seed, budget_s, options) for seed in seeds]
    if jobs == 1:
        yield from map(_one, tasks)
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_one, tasks, chunksize=8)


def _robust(query: Query, oracle: Enumeration) -> bool:
    """Whether the oracle's point has room in every sign, and in every atom for what single precision may
    do."""
    if not oracle.robust or oracle.point is None:
        return False
    x = np.array([float(value) for value in oracle.point])
    outputs = query.program.evaluate(x[None])[0][0]
    return bool(query.prop.margin(outputs) > query.rounding(x))


def _one(task: tuple[Draw, Solver, int, float, Options]) -> Finding:
    draw, solver, seed, budget_s, options = task
    with tempfile.TemporaryDirectory() as folder:
        case = draw(Path(folder), seed)
        started = time.monotonic()
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                result: Result | Exception = solver(case.query, Budget(budget_s), options)
        except Exception as error:
            result = error
        seconds = time.monotonic() - started
        found = examine(case.query, result, seed=seed, label=case.label)
        took = time.monotonic() - started - seconds
    return found.model_copy(update={"seconds": seconds, "truth_seconds": took})


def examine(
    query: Query,
    result: Result | Exception,
    oracle: Enumeration | None = None,
    seed: int = 0,
    label: str = "",
) -> Finding:
    """Holds one answer against enumeration, replay and rational arithmetic; see the module.

    Args:
        oracle: enumeration's word, if it is known already; it is asked where the answer needs it.
    """
    if isinstance(result, Exception):
        complaint = f"raised {type(result).__name__}: {result}"
        return Finding(seed=seed, label=label, verdict="raised", truth=Truth.UNKNOWN, complaint=complaint)
    finding = Finding(seed=seed, label=label, verdict=result.verdict.value, truth=Truth.SAT)
    if result.verdict is Verdict.SAT:
        complaint, rounded = _about_sat(query, result)
        if not (complaint or rounded):
            return finding
        oracle = oracle or enumerate_query(query.network, query.prop)
        changed = {"complaint": complaint, "rounded": rounded, "truth": oracle.truth}
        return finding.model_copy(update=changed)
    oracle = oracle or enumerate_query(query.network, query.prop)
    found = finding.model_copy(
        update={
            "truth": oracle.truth,
            "robust": _robust(query, oracle),
            "ties": oracle.ties,
            "programs": oracle.programs,
        }
    )
    if result.verdict is Verdict.UNSAT:
        return found.model_copy(update={"complaint": _about_unsat(query, oracle, seed)})
    clear = found.robust if oracle.truth is Truth.SAT else oracle.clear
    cause = TOUCHING if TOUCHING in label else "tie" if oracle.ties or not clear else "other"
    return found.model_copy(update={"reason": result.reason, "missed": clear, "cause": cause})


def _about_sat(query: Query, result: Result) -> tuple[str, bool]:
    """A complaint about a `sat` or "", and whether it holds in single precision alone."""
    x = result.witness
    if x is None:
        return "sat without a witness", False
    if not query.prop.inputs_inside(x):
        return "the witness is outside the box", False
    if not np.array_equal(np.asarray(x, np.float32).astype(np.float64), x):
        return "the witness is no binary32 point", False
    outputs = Runtime(query.onnx.read_bytes()).outputs(x)
    if not query.prop.outputs_satisfied(outputs):
        return f"the witness fails replay by {-float(query.prop.margin(outputs)):.3g}", False
    margin = exact_margin(query.network, query.prop, x)
    if margin >= 0:
        return "", False
    if float(-margin) > query.rounding(x):
        return f"the witness misses over the reals by {float(-margin):.3g}", False
    return "", True


def _about_unsat(query: Query, oracle: Enumeration, seed: int) -> str:
    if oracle.point is not None:
        kind = "robust" if oracle.robust else "thin"
        return f"unsat, but {[float(v) for v in oracle.point]} ({kind}) satisfies the query over the reals"
    if oracle.truth is Truth.UNSAT:
        return ""
    points = sample(query, seed)
    outputs = query.program.evaluate(points)[0]
    margins = query.prop.margin(outputs)
    for point in points[np.argsort(-margins)[:20]]:
        if exact_margin(query.network, query.prop, point) >= 0:
            return f"unsat, but {point.tolist()} satisfies the query over the reals"
        if query.confirm(point) is not None:
            return f"unsat, but {point.tolist()} survives replay"
    return ""


def sample(query: Query, seed: int, count: int = SAMPLES) -> Array:
    """Points [2 count + 1, n] where queries tend to break: middle, corners, edges, a grid; and anywhere."""
    rng = np.random.default_rng((seed, 2))
    low, high = query.prop.input_lower, query.prop.input_upper
    anywhere = rng.uniform(low, high, (count, len(low)))
    corners = np.where(rng.random((count // 4, len(low))) < 0.5, low, high)
    edges = np.where(rng.random((count // 4, len(low))) < 0.5, corners, anywhere[: count // 4])
    grid = np.round(anywhere[: count // 2] * 8) / 8
    points = np.concatenate([(low + high)[None] / 2, corners, edges, grid, anywhere])
    return np.asarray(np.clip(points, low, high))


def _table(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Lines "first: second n, second n" with counts."""
    counts: dict[str, Counter[str]] = {}
    for first, second in pairs:
        counts.setdefault(first, Counter())[second] += 1
    return [
        f"  {first:22s} " + ", ".join(f"{second} {n}" for second, n in sorted(row.items()))
        for first, row in sorted(counts.items())
    ]
