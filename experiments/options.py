"""What benches let be said: a record each, whose entries are the options of its command."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from salver.core.records import Record

GRID = (0.02, 0.05, 0.1, 0.2, 0.5)
CAM_DATA = "gtsrb48-equalized"


class SmoothGradOptions(Record):
    """Parameters of the track; the defaults are the paper's, but for the network and the points."""

    network: str = Field(default="digits-32x32", description="key of the zoo")
    points: int = Field(default=10, gt=0, description="correctly classified test points")
    q: int = Field(default=8192, gt=0, description="samples of a map")
    p: float = Field(default=0.95, gt=0, lt=1, description="confidence of a certificate")
    k_share: float = Field(default=0.2, gt=0, lt=1, description="size of the top set, K / n")
    rho: float = Field(
        default=0.03, ge=0, allow_inf_nan=False, description="l2 radius, in units of the input"
    )
    sigmas: tuple[float, ...] = Field(default=GRID, min_length=1, description="noise levels, comma-separated")
    taus: tuple[float, ...] = Field(default=GRID, min_length=1, description="kept shares, comma-separated")
    noise: Literal["fresh", "same"] = Field(
        default="fresh", description="of the attacked map: fresh samples, or the same as of the original"
    )
    keep_label: bool = Field(default=False, description="the attack keeps the class")
    attack_draws: int = Field(default=1024, gt=0, description="samples a step")
    attack_steps: int = Field(default=5, ge=0, description="steps of a descent; 0 are random directions")
    seed: int = Field(default=0, ge=0, description="of network, points and samples")


class RankingOptions(Record):
    """Points, samples of the thickness, the attacks' budget, and whose verdicts are counted."""

    datasets: tuple[str, ...] = Field(
        default=("adult", "compas", "mnist", "breast_cancer"), description="comma-separated"
    )
    points: int = Field(default=200, gt=0, description="test points a network")
    samples: int = Field(default=200, gt=0, description="points of a thickness")
    steps: int = Field(default=100, gt=0, description="steps of an attack")
    step: float = Field(default=5e-3, gt=0, description="l2 length of a step")
    solver: str = Field(default="hybrid", description="the solver that answers")
    seed: int = Field(default=0, ge=0, description="of networks, points and samples")


class CamOptions(Record):
    """Parameters of the bench of class activation maps; the defaults are the paper's."""

    network: Path | None = Field(
        default=None, description="a Keras HDF5 file; default: CORGI's in the data folder"
    )
    dataset: str = Field(default=CAM_DATA, description="data set whose images have the network's shape")
    classes: tuple[int, ...] = Field(
        default=(12, 17), min_length=1, description="whose images and maps, comma-separated"
    )
    images: int = Field(default=100, gt=0, description="most images of a class, of the test part first")
    k: int = Field(default=15, gt=0, description="size of the top set")
    most: float = Field(default=0.005, gt=0, allow_inf_nan=False, description="upper end of the bisection")
    steps: int = Field(default=15, gt=0, le=40, description="halvings of the bisection")
    slope_steps: int = Field(default=0, ge=0, le=1000, description="ascent on slopes of open pairs")
    workers: int = Field(default=1, gt=0, description="processes of one core")
    seed: int = Field(default=0, ge=0, description="of the attack's starts")


class OverheadOptions(Record):
    """`runs` of each command in each way, in an order drawn from `seed`."""

    runs: int = Field(default=50, ge=2, description="of each command in each way")
    seed: int = Field(default=0, description="of the order")


class KernelOptions(Record):
    """A series ends with the first pass that takes more than `most` CPU seconds."""

    most: float = Field(
        default=20.0, gt=0, allow_inf_nan=False, description="CPU seconds of a pass that end a series"
    )
    seed: int = Field(default=0, description="of the weights")
