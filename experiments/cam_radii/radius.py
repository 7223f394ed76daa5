"""Certified and attacked radii of the top-k set of a class activation map, by bisection.

The setting is that of Gu et al. (CORGI, 2020): 15 steps on [0, 0.005], the class fixed, the label free in the
certificate and kept by the attack, the box not cut at the data range (the attack stays within it, so a
certificate always speaks about more points than the attack tries).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from experiments.cam_radii.attack import CamAttack, Effort, attack_radius
from experiments.cam_radii.bounds import CamBounds, Method
from experiments.cam_radii.image_bounds import Ranges

Array = npt.NDArray[np.float64]
DEFAULT_EFFORT = Effort()
METHODS: tuple[Method, ...] = ("pixels", "differences", "channels")


@dataclass(frozen=True)
class RadiusSearch:
    """The bisection: of [0, most] in `steps` halvings."""

    most: float = 0.005
    steps: int = 15
    slope_steps: int = 0


@dataclass(frozen=True)
class Radii:
    """What was found at one image; seconds are wall time of the method alone.

    Attributes:
        certified: method -> certified radius.
        published_attack, attack: radius of the published attack, and of ours.
    """

    certified: dict[Method, float]
    published_attack: float
    attack: float
    seconds: dict[str, float]


@dataclass(eq=False)
class RadiusQuery:
    """The top-k set of CAM_label at one image.

    Raises:
        SalverError, UndefinedConditionError: see `CamBounds.top`; raised when the set is first needed.
    """

    bounds: CamBounds
    x: Array
    k: int
    inside: npt.NDArray[np.intp] = field(init=False)
    known: dict[float, Ranges] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.inside = self.bounds.top(self.x, self.k)

    def certified(self, epsilon: float, method: Method, slope_steps: int = 0) -> bool:
        """Whether the set stays for every x' with |x' - x|_inf <= epsilon, decided by one method."""
        return self.bounds.certified(self._ranges(epsilon), self.inside, method, slope_steps)

    def radius(
        self, method: Method, search: RadiusSearch, least: float = 0.0, beyond: float = float("inf")
    ) -> float:
        """Largest radius of the bisection's grid that is certified; 0 where none is.

        Args:
            least: a radius known to be certified by a method that this one contains.
            beyond: a radius at which a violation is known, so that nothing from there on can be certified.
        """
        low, high = 0.0, search.most
        for _ in range(search.steps):
            middle = (low + high) / 2
            known = middle <= least or (
                middle < beyond and self.certified(middle, method, search.slope_steps)
            )
            low, high = (middle, high) if known else (low, middle)
        return low

    def _ranges(self, epsilon: float) -> Ranges:
        """Bounds over the box, within those of the next larger one that is known."""
        if epsilon not in self.known:
            larger = [e for e in self.known if e > epsilon]
            within = self.known[min(larger)] if larger else None
            lower = np.nextafter(self.x - epsilon, -np.inf)
            upper = np.nextafter(self.x + epsilon, np.inf)
            self.known[epsilon] = self.bounds.over(lower, upper, within)
        return self.known[epsilon]


def measure_radii(
    query: RadiusQuery, seed: int, search: RadiusSearch, effort: Effort = DEFAULT_EFFORT
) -> Radii:
    """All radii at one image, whose entries lie between 0 and 1."""
    seconds: dict[str, float] = {}
    attack = CamAttack(query.bounds, query.x, query.inside)
    began = time.perf_counter()
    published = attack_radius(attack.published, 4 * search.most, effort.halvings)
    seconds["published attack"] = time.perf_counter() - began
    began = time.perf_counter()
    most = min(published, 4 * search.most)
    ours = attack_radius(lambda epsilon: attack.pairs(epsilon, effort, seed), most, effort.halvings)
    ours = min(ours, published)
    seconds["attack"] = time.perf_counter() - began
    found: dict[Method, float] = {}
    for method in METHODS:
        began = time.perf_counter()
        least = found["pixels"] if method == "differences" else 0.0
        found[method] = query.radius(method, search, least, beyond=ours)
        seconds[method] = time.perf_counter() - began
    return Radii(found, published, ours, seconds)
