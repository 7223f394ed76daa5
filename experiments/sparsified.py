"""Sparsified SmoothGrad and its probabilistic certificate (Levine, Singla and Feizi, "Certifiably Robust
Interpretation in Deep Learning", 2019).

h(x) marks the entries whose |g_i(x)| is among the m largest, and hbar is its mean over q samples of
x + N(0, sigma^2 I). The expectation of hbar cannot change quickly with x, so that part of its top-K set
stays within any |d|_2 <= rho. The guarantee holds with probability p over the samples: it is no proof, and
nothing here is ever counted as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from salver.core.errors import SalverError
from salver.explain.gradient import logits_and_gradient
from salver.nets.program import Program

Array = npt.NDArray[np.float64]
_CHUNK = 1024
_ROUNDING = 1e-12
"""Added to the right-hand side of the certificate's comparison, far above what double precision loses."""


def share_count(share: float, size: int) -> int:
    """share * size rounded to the nearest integer (halves up), at least 1: the count behind tau or K.

    Raises:
        SalverError: the share is not within (0, 1).
    """
    if not 0 < share < 1:
        raise SalverError(f"share {share} is not between 0 and 1", "sparsified SmoothGrad", "choose another")
    return max(1, int(np.floor(share * size + 0.5)))


def sparsify(gradient: Array, count: int) -> Array:
    """h [batch, n] in [0, 1]: 1 for the `count` largest |gradient| of a row [batch, n], 0 for the others.

    Entries tied at rank `count` share the places that are left equally, so a constant map marks nothing
    more than anything else. Each row sums to `count`.

    Raises:
        SalverError: count is not between 1 and n.
    """
    magnitude = np.abs(gradient)
    size = magnitude.shape[1]
    if not 1 <= count <= size:
        what = f"{count} entries cannot be kept of {size}"
        raise SalverError(what, "sparsified SmoothGrad", f"keep 1 ... {size}")
    threshold = np.partition(magnitude, size - count, axis=1)[:, size - count, None]
    above, tied = magnitude > threshold, magnitude == threshold
    left = count - above.sum(axis=1, keepdims=True)
    return np.asarray(above + tied * (left / tied.sum(axis=1, keepdims=True)))


@dataclass(frozen=True, eq=False)
class Smoothing:
    """The map that is averaged: gradient of which combination of logits [m], kept counts, and the noise."""

    classifier: Program
    coefficients: Array
    counts: tuple[int, ...]
    sigma: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.sigma) and self.sigma > 0):
            raise SalverError(
                f"sigma {self.sigma} is not positive", "sparsified SmoothGrad", "choose another"
            )

    def marks(self, x: Array, standard: Array) -> list[Array]:
        """h [draws, n] for each count at `x` [n] plus sigma times `standard` [draws, n]."""
        _, gradient = logits_and_gradient(self.classifier, x + self.sigma * standard, self.coefficients)
        return [sparsify(gradient, count) for count in self.counts]

    def mean(self, x: Array, draws: int, seed: Sequence[int]) -> Array:
        """hbar [counts, n] at `x` [n] over `draws` samples; the same seed gives the same samples.

        Raises:
            SalverError: no draws.
        """
        if draws < 1:
            raise SalverError(f"{draws} samples", "sparsified SmoothGrad", "use at least one")
        rng = np.random.default_rng(list(seed))
        total = np.zeros((len(self.counts), len(x)))
        for start in range(0, draws, _CHUNK):
            standard = rng.standard_normal((min(_CHUNK, draws - start), len(x)))
            total += [marks.sum(axis=0) for marks in self.marks(x, standard)]
        return total / draws


@dataclass(frozen=True)
class Certificate:
    """What is asked of hbar.

    Attributes:
        k: size K of the top set.
        rho: radius of the l2 ball.
        sigma: of the noise; draws: q.
        confidence: p; the certificate of one map fails with probability at most 1 - p.
    """

    k: int
    rho: float
    sigma: float
    draws: int
    confidence: float

    def __post_init__(self) -> None:
        checks = {
            f"K = {self.k} is below 1": self.k >= 1,
            f"rho = {self.rho} is negative or not finite": np.isfinite(self.rho) and self.rho >= 0,
            f"sigma = {self.sigma} is not positive": np.isfinite(self.sigma) and self.sigma > 0,
            f"q = {self.draws} is below 1": self.draws >= 1,
            f"p = {self.confidence} is not within (0, 1)": 0 < self.confidence < 1,
        }
        for what, holds in checks.items():
            if not holds:
                raise SalverError(what, "SmoothGrad certificate", "choose another value")

    def deviation(self, size: int) -> float:
        """c = sqrt(ln(2 n / (1 - p)) / (2 q)): Hoeffding's bound on the error of all n means at once."""
        return float(np.sqrt(np.log(2 * size / (1 - self.confidence)) / (2 * self.draws)))

    def overlap(self, smoothed: Array) -> int:
        """R_cert: how many of the top K of `smoothed` [n] stay in the top K anywhere in the ball.

        The largest i <= K with Phi(Phi^-1(hbar_(i) - c) - 2 rho / sigma) - c > hbar_(2K - i + 1), where
        hbar_(r) is the r-th largest. A rank beyond n has no rival, hence 2K - n of the elements stay in
        any case (the two sets have only n entries to differ in). An hbar_(i) <= c certifies nothing.

        Raises:
            SalverError: K is not below n.
        """
        size = len(smoothed)
        if self.k >= size:
            what = f"K = {self.k} is not below the {size} features"
            raise SalverError(what, "SmoothGrad certificate", f"choose 1 ... {size - 1}")
        ordered = np.append(-np.sort(-smoothed), np.full(self.k, -np.inf))
        ranks = np.arange(1, self.k + 1)
        c = self.deviation(size)
        low = special.ndtr(special.ndtri(np.clip(ordered[ranks - 1] - c, 0, 1)) - 2 * self.rho / self.sigma)
        stays = low - c > ordered[2 * self.k - ranks] + _ROUNDING
        return int(ranks[stays].max(initial=0))


def top_set(smoothed: Array, k: int) -> npt.NDArray[np.intp]:
    """Indices [k] of the k largest entries, ascending; of tied ones the first come first."""
    return np.sort(np.argsort(-smoothed, kind="stable")[:k])


def worst_overlap(inside: npt.NDArray[np.intp], after: Array) -> int:
    """How many of `inside` [k] are among the k largest of `after` [n] when every tie goes against them."""
    kept = np.zeros(len(after), dtype=np.bool_)
    kept[inside] = True
    order = np.lexsort((kept, -after))[: len(inside)]
    return int(kept[order].sum())
