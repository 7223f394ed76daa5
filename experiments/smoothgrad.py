"""`salver bench smoothgrad`: the certificate of sparsified SmoothGrad beside an attack, on test points.

A probabilistic track of its own: the certified overlap of each map holds with probability p over its
samples (Levine, Singla and Feizi, 2019). It has its own columns and is never mixed with proofs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from experiments.bench_report import BenchReport
from experiments.options import SmoothGradOptions
from experiments.sparsified import Certificate, Smoothing, share_count, top_set, worst_overlap
from experiments.sparsified_attack import Effort, Target, attack
from salver.core.errors import SalverError
from salver.core.plugins import choose
from salver.explain.unroll import logit_combination
from salver.nets.network import lower
from salver.nets.program import Program
from salver.nets.torch_bridge import from_torch
from salver.run.machine import processor
from salver.zoo.datasets import Dataset, load

Array = npt.NDArray[np.float64]
_CERTIFY, _ATTACK, _FRESH = 1, 2, 3


def bench_smoothgrad(
    root: Path, options: SmoothGradOptions, data_dir: Path | None = None, say: Callable[[str], None] = print
) -> Path:
    """Measures, prints and writes the track; returns the folder below reports/ that was written.

    Raises:
        SalverError: an unknown network, missing data, or parameters that allow no certificate.
    """
    from salver.zoo.networks import ZOO, trained

    spec = choose(options.network, ZOO, "network")
    data = load(spec.dataset, data_dir)
    size = data.test_x.shape[1]
    classifier = lower(from_torch(trained(spec, options.seed, data_dir), size))
    frame = measure(classifier, data, options)
    report = BenchReport("salver bench smoothgrad", say)
    report.text(conditions(options, data, frame))
    report.table(summary(frame, options), "smoothgrad")
    report.figures(frame, "smoothgrad-points")
    return report.write(root / "reports", "bench-smoothgrad", "smoothgrad")


def measure(classifier: Program, data: Dataset, options: SmoothGradOptions) -> pd.DataFrame:
    """One row per sigma, tau and test point: certified and attacked overlap as counts out of K.

    The same options give the same rows.

    Raises:
        SalverError: K is not below the number of features, or no test point is classified correctly.
    """
    rows = []
    for index in _points(classifier, data, options):
        x, label = data.test_x[index].astype(np.float64), int(data.test_y[index])
        for number, sigma in enumerate(options.sigmas):
            rows += list(_cells(classifier, x, label, index, number, sigma, options))
    frame = pd.DataFrame(rows)
    return frame.sort_values(["sigma", "tau", "index"], kind="stable", ignore_index=True)


def _cells(
    classifier: Program,
    x: Array,
    label: int,
    index: int,
    number: int,
    sigma: float,
    options: SmoothGradOptions,
) -> Iterator[dict[str, object]]:
    """All taus of one point and sigma: their maps come from the same gradients."""
    size = len(x)
    k = share_count(options.k_share, size)
    counts = tuple(share_count(tau, size) for tau in options.taus)
    coefficients = logit_combination(classifier.output.size, label)
    maps = Smoothing(classifier, coefficients, counts, sigma)
    seed = [options.seed, index, number]
    means = maps.mean(x, options.q, [*seed, _CERTIFY])
    certificate = Certificate(k, options.rho, sigma, options.q, options.p)
    effort = Effort(draws=options.attack_draws, steps=options.attack_steps)
    for place, (tau, count) in enumerate(zip(options.taus, counts, strict=True)):
        one = Smoothing(classifier, coefficients, (count,), sigma)
        kept = label if options.keep_label else None
        target = Target(x, means[place], k, options.rho, kept)
        moved = attack(one, target, [*seed, _ATTACK, place], effort)
        stream = [*seed, _CERTIFY] if options.noise == "same" else [*seed, _FRESH, place]
        after = one.mean(moved, options.q, stream)[0]
        yield {
            "sigma": sigma,
            "tau": tau,
            "index": index,
            "K": k,
            "kept": count,
            "certified": certificate.overlap(means[place]),
            "attacked": worst_overlap(top_set(means[place], k), after),
            "distance": float(np.linalg.norm(moved - x)),
            "label_kept": int(np.argmax(classifier.evaluate(moved[None])[0])) == label,
        }


def summary(frame: pd.DataFrame, options: SmoothGradOptions) -> pd.DataFrame:
    """One row per sigma and tau: median certified and attacked overlap / K, their gap, and how often the
    attacked map kept less than was certified."""
    rows = []
    for (sigma, tau), cell in frame.groupby(["sigma", "tau"]):
        certified, attacked = cell["certified"] / cell["K"], cell["attacked"] / cell["K"]
        rows.append(
            {
                "sigma": f"{sigma:g}",
                "tau": f"{tau:g}",
                "points": str(len(cell)),
                "certified overlap": f"{certified.median():.3f}",
                "failure probability": f"{1 - options.p:.3g}",
                "attacked overlap": f"{attacked.median():.3f}",
                "gap": f"{(attacked - certified).median():.3f}",
                "below certificate": str(int((attacked < certified).sum())),
            }
        )
    return pd.DataFrame(rows)


def conditions(options: SmoothGradOptions, data: Dataset, frame: pd.DataFrame) -> str:
    """The parameters, so that the figures can be measured again, and what they mean."""
    size, k = data.test_x.shape[1], int(frame["K"].iloc[0])
    label = "label kept" if options.keep_label else "label free"
    return (
        f"{options.network} on {data.name}, n = {size}, K = {k}, rho = {options.rho:g}, q = {options.q}, "
        f"p = {options.p:g}, seed {options.seed}; {processor()}.\n"
        f"Certified overlap: R_cert / K of one map, wrong with probability at most "
        f"{1 - options.p:.3g} over its samples (medians over points; "
        f"{max(0, 2 * k - size)} of K hold for any two sets).\n"
        f"Attacked overlap: after an l2 attack within rho ({label}, {options.attack_steps} steps of "
        f"{options.attack_draws} draws), of the map from {options.noise} samples; "
        "ties count against the original set. No row is a proof."
    )


def _points(classifier: Program, data: Dataset, options: SmoothGradOptions) -> list[int]:
    """Correctly classified test points in a seeded order."""
    logits = classifier.evaluate(data.test_x.astype(np.float64))[0]
    right = np.argmax(logits, axis=1) == data.test_y
    order = np.random.default_rng([options.seed, 31]).permutation(len(right))
    chosen = [int(i) for i in order if right[i]][: options.points]
    if not chosen:
        what = "no test point is classified correctly"
        raise SalverError(what, options.network, "choose another network")
    return chosen
