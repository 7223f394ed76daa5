"""`salver bench ranking`: R2ET's measures of a ranking's stability beside what a verifier says of it.

Per data set and training: accuracy, P@k under both attacks of Chen et al. (NeurIPS 2024), thickness, and
the verdicts of the suite that asks the same networks at the same radii.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import nn

from experiments.bench_report import BenchReport
from experiments.options import RankingOptions
from experiments.saliency_attacks import L2Budget, attacked, in_float64, saliency
from salver.core.errors import SalverError
from salver.core.plugins import choose
from salver.explain.ranking import Ranking, UndefinedConditionError, ranking_of
from salver.families.instance import Facts
from salver.judge.judged import judge_run
from salver.judge.scoring import results_frame
from salver.run.loaded import load_run
from salver.run.manifest import read_run
from salver.runners.registry import runners
from salver.zoo.attacks import limits
from salver.zoo.datasets import Dataset, load
from salver.zoo.networks import ZOO, trained
from salver.zoo.training import accuracy

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RankingComparison:
    """One network in its trainings: zoo key of the plain one, k, and the suite with their rankings."""

    network: str
    k: int
    suite: str


COMPARISONS = {
    "adult": RankingComparison("adult-32x32", 8, "ranking-tabular-trained"),
    "compas": RankingComparison("compas-32x32", 8, "ranking-tabular-trained"),
    "mnist": RankingComparison("mnist-32x32", 50, "ranking-mnist"),
    "breast_cancer": RankingComparison("breast-16x16", 5, "ranking-breast"),
}


@dataclass(frozen=True)
class Stability:
    """Means over the points whose top-k set is defined; `points` of them, `tied` were passed over.

    Attributes:
        er, mse: P@k after each attack.
        thickness: share of points of the l2 ball of the attacks' budget on which S_i > S_j, over the pairs
            of a member of T with one of the k next features.
    """

    points: int
    tied: int
    er: float
    mse: float
    thickness: float


def measure(module: nn.Sequential, data: Dataset, k: int, options: RankingOptions) -> Stability | None:
    """P@k under attack and thickness at correctly classified test points; None where every one is tied.

    Raises:
        SalverError: k is not below the number of features.
    """
    net = in_float64(module)
    x, y = _points(net, data, options)
    maps = saliency(net, x, y)
    rankings = [_ranking(row, k) for row in maps]
    used = [number for number, ranking in enumerate(rankings) if ranking is not None]
    if not used:
        return None
    kept = [ranking for ranking in rankings if ranking is not None]
    x, y = x[used], y[used]
    clip = limits(data, torch.float64)
    budget = L2Budget(steps=options.steps, step=options.step)
    er, mse = (
        _precision(kept, saliency(net, attacked(net, x, y, k, kind, budget, clip), y))
        for kind in ("er", "mse")
    )
    offsets = torch.from_numpy(_in_ball(options, x.shape[1]))
    thickness = [
        _thickness(net, (point + offsets).clamp(*clip), label, ranking, maps[number])
        for number, point, label, ranking in zip(used, x, y, kept, strict=True)
    ]
    return Stability(len(used), len(maps) - len(used), er, mse, float(np.mean(thickness)))


def _points(net: nn.Sequential, data: Dataset, options: RankingOptions) -> tuple[torch.Tensor, torch.Tensor]:
    """The first correctly classified test points in a seeded order, float64 [N, n], with their labels."""
    order = np.random.default_rng([options.seed, 17]).permutation(len(data.test_x))
    x, y = torch.from_numpy(data.test_x[order]).double(), torch.from_numpy(data.test_y[order])
    with torch.no_grad():
        right = torch.nonzero(net(x).argmax(1) == y)[: options.points, 0]
    return x[right], y[right]


def _ranking(saliency_map: Array, k: int) -> Ranking | None:
    try:
        return ranking_of(saliency_map, k)
    except UndefinedConditionError:
        return None


def _precision(rankings: list[Ranking], maps: Array) -> float:
    pairs = zip(rankings, maps, strict=True)
    return float(np.mean([ranking.precision_at_k(row[None])[0] for ranking, row in pairs]))


def _in_ball(options: RankingOptions, size: int) -> Array:
    """Points [samples, size] of the l2 ball of the attacks' budget around 0."""
    generator = np.random.default_rng([options.seed, 37])
    directions = generator.normal(size=(options.samples, size))
    lengths = options.steps * options.step * generator.random((options.samples, 1)) ** (1 / size)
    return np.asarray(directions / np.linalg.norm(directions, axis=1, keepdims=True) * lengths)


def _thickness(
    net: nn.Sequential, around: torch.Tensor, label: torch.Tensor, ranking: Ranking, saliency_map: Array
) -> float:
    """At the points `around` one with this map; see `Stability`."""
    by_rank = ranking.outside[np.argsort(-saliency_map[ranking.outside], kind="stable")]
    rival = Ranking(ranking.inside, np.sort(by_rank[: len(ranking.inside)]))
    maps = saliency(net, around, label.expand(len(around)))
    return float(rival.thickness(maps).mean())


def verdicts(frame: pd.DataFrame, facts: list[Facts], networks: list[str], k: int) -> dict[str, str]:
    """Network -> `verified / falsified / undecided` over the strict rankings at radii all networks share.

    Args:
        frame: one row per run of one solver (`results_frame`), with the facts of its instance in `facts`.
    """
    asked = frame.assign(
        network=[fact.network for fact in facts],
        epsilon=[fact.epsilon for fact in facts],
        wanted=[fact.question.ranked == k and not fact.question.extra_outputs for fact in facts],
    )
    asked = asked[asked["wanted"] & asked["network"].isin(networks)]
    shared = set(asked["epsilon"])
    for network in networks:
        shared &= set(asked.loc[asked["network"] == network, "epsilon"])
    asked = asked[asked["epsilon"].isin(sorted(shared))]
    cells = {}
    for network in networks:
        group = asked[asked["network"] == network]
        if group.empty:
            continue
        sure = [int((group["outcome"] == outcome).sum()) for outcome in ("verified", "falsified")]
        cells[network] = f"{sure[0]} / {sure[1]} / {len(group) - sum(sure)}"
    return cells


def bench_ranking(
    root: Path,
    options: RankingOptions,
    data_dir: Path | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Measures every training of every data set asked for and writes the tables; returns their folder.

    Verdicts come from the latest run of each suite that has answers of the solver; without one, the
    column says `not run`.

    Raises:
        SalverError: an unknown data set, or missing data.
    """
    unknown = sorted(set(options.datasets) - set(COMPARISONS))
    if unknown:
        hint = f"choose among {', '.join(COMPARISONS)}"
        raise SalverError(f"no comparison on {', '.join(unknown)}", "bench ranking", hint)
    choose(options.solver, runners(), "solver")
    report = BenchReport("salver bench ranking", say)
    report.text(_conditions(options), printed=False)
    for name in options.datasets:
        comparison = COMPARISONS[name]
        table, source = _table(root, name, comparison, options, data_dir)
        report.heading(f"{name}, {comparison.network}, k = {comparison.k}")
        report.text(f"Verdicts: {source}.")
        report.table(table, name)
    return report.write(root / "reports", "bench-ranking", "ranking")


def _table(
    root: Path, name: str, comparison: RankingComparison, options: RankingOptions, data_dir: Path | None
) -> tuple[pd.DataFrame, str]:
    data = load(name, data_dir)
    plain = comparison.network
    networks = [key for key in ZOO if key == plain or key.startswith(f"{plain}-")]
    found, source = _suite_verdicts(root, comparison, networks, options.solver)
    rows = []
    for network in networks:
        module = trained(ZOO[network], options.seed, data_dir)
        stability = measure(module, data, comparison.k, options)
        cells = {"training": network.removeprefix(plain).removeprefix("-") or "plain"}
        cells["accuracy (%)"] = f"{100 * accuracy(module, data):.1f}"
        cells |= _stability_cells(stability)
        cells["verified / falsified / undecided"] = found.get(network, "not run")
        rows.append(cells)
    return pd.DataFrame(rows), source


def _stability_cells(stability: Stability | None) -> dict[str, str]:
    if stability is None:
        return {"points": "0", "P@k ERAttack (%)": "-", "P@k MSE (%)": "-", "thickness (%)": "-"}
    tied = f" ({stability.tied} tied)" if stability.tied else ""
    return {
        "points": f"{stability.points}{tied}",
        "P@k ERAttack (%)": f"{100 * stability.er:.1f}",
        "P@k MSE (%)": f"{100 * stability.mse:.1f}",
        "thickness (%)": f"{100 * stability.thickness:.1f}",
    }


def _suite_verdicts(
    root: Path, comparison: RankingComparison, networks: list[str], solver: str
) -> tuple[dict[str, str], str]:
    """The cells of `verdicts` from the suite's latest run with answers of the solver, and where it lies."""
    for path in sorted((root / "reports").glob(f"{comparison.suite}-*/manifest.json"), reverse=True):
        run = read_run(path.parent)
        if run.suite != comparison.suite or solver not in run.solvers:
            continue
        try:
            judged = judge_run(load_run(path.parent, root))
        except SalverError as error:
            return {}, f"none, the latest run cannot be judged: {error.what}"
        own = [one for one in judged.rows if one.run.solver == solver]
        facts = [judged.run.instances[one.run.instance_id].facts for one in own]
        limits = " or ".join(sorted({f"{one.run.limit_s:g}" for one in own}))
        found = verdicts(results_frame(own), facts, networks, comparison.k)
        version, where = run.solvers[solver], f"reports/{path.parent.name}"
        return found, f"{solver} {version}, {limits} s a run, {len(own)} answers, {where}"
    return {}, f"none, `salver run {comparison.suite} --solvers {solver}` gives them"


def _conditions(options: RankingOptions) -> str:
    return (
        f"P@k = |top-k(x) and top-k(x')| / k at up to {options.points} correctly classified test points, x' "
        f"the last point that keeps the class in an attack of {options.steps} steps of l2 length "
        f"{options.step:g}; thickness over {options.samples} points of the ball of that radius; "
        f"network seed {options.seed}. Verdicts of the strict rankings at the radii that all trainings share."
    )
