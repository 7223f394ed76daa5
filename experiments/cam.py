"""`salver bench cam`: certified and attacked radii of class activation maps beside those of CORGI's paper.

CORGI (Gu et al., 2020) bounds every pixel; here the same test, linear bounds of each pixel, and bounds of
differences of pixels are run on the same images of the published network, with the published attack and a
stronger one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from experiments.bench_report import BenchReport
from experiments.options import CAM_DATA, CamOptions
from experiments.published import CORGI_MEDIANS, CORGI_SOURCE
from salver.cli.progress import counting
from salver.core.errors import SalverError
from salver.nets.classifier import read_classifier
from salver.nets.network import Network
from salver.run.machine import processor
from salver.zoo.datasets import Dataset, load, locate_user_data

PUBLISHED_NETWORK = Path("paper") / "corgi_gtsrb.h5"
COLUMNS = {
    "channels": "certified, CORGI's test",
    "pixels": "certified, per pixel",
    "differences": "certified, differences",
    "published_attack": "attack, published",
    "attack": "attack, ours",
}


@dataclass(frozen=True, eq=False)
class _ImageJob:
    """One image for one worker."""

    network: Path
    label: int
    part: str
    index: int
    x: npt.NDArray[np.float64]
    options: CamOptions


def bench_cam(
    root: Path, options: CamOptions, data_dir: Path | None = None, say: Callable[[str], None] = print
) -> Path | None:
    """Measures, prints and writes the radii; returns the folder below reports/ that was written.

    Where the data or the published network are missing and neither was asked for by name, says so in one
    line and returns None.

    Raises:
        SalverError: a network or data set asked for by name is missing or unfit, or k is impossible.
    """
    try:
        path = options.network or _published_network(data_dir)
        data = load(options.dataset, data_dir)
    except SalverError as error:
        if options.network is not None or options.dataset != CAM_DATA:
            raise
        say(f"cam: skipped: {error}")
        return None
    classifier = read_classifier(path)
    network, shape = classifier.network, classifier.shape
    if shape != data.input_shape:
        what = f"inputs of shape {shape}, but the images of {data.name} have {data.input_shape}"
        raise SalverError(what, str(path), "choose another data set")
    _check(network, options)
    frame = measure(path, network, data, options)
    report = BenchReport("salver bench cam", say)
    report.text(conditions(frame, data, path, options))
    report.table(summary(frame, options), "cam")
    report.figures(frame, "cam-images")
    return report.write(root / "reports", "bench-cam", "cam")


def measure(path: Path, network: Network, data: Dataset, options: CamOptions) -> pd.DataFrame:
    """One row per image: class, part, index, radii, seconds. The same options give the same radii.

    Raises:
        SalverError: a class without an image that is classified correctly and has no tie at rank k.
    """
    jobs = [
        job for label in dict.fromkeys(options.classes) for job in _jobs(path, network, data, label, options)
    ]
    rows = []
    with counting("images measured") as measured:
        for done, row in enumerate(_run(jobs, options.workers), 1):
            rows += [] if row is None else [row]
            measured(done)
    missing = sorted(set(options.classes) - {int(str(row["class"])) for row in rows})
    if missing:
        what = f"class {missing[0]} has no image that is classified correctly and has no tie at rank k"
        raise SalverError(what, data.name, "choose other classes or another k")
    return pd.DataFrame(rows)


def summary(frame: pd.DataFrame, options: CamOptions) -> pd.DataFrame:
    """One row per class with medians over its images, then one with the published medians where there are."""
    rows = []
    for label in dict.fromkeys(options.classes):
        own = frame[frame["class"] == label]
        attack, published_attack = own["attack"].median(), own["published_attack"].median()
        row = {"class": str(label), "images": str(len(own))}
        row |= {title: f"{own[name].median():.3g}" for name, title in COLUMNS.items()}
        row["published attack / CORGI's test"] = _ratio(published_attack, own["channels"].median())
        row["our attack / differences"] = _ratio(attack, own["differences"].median())
        row["s/image"] = f"{own['seconds'].mean():.1f}"
        rows.append(row)
        if label in CORGI_MEDIANS and options.network is None and options.k == 15:
            certified, attacked = CORGI_MEDIANS[label]
            rows.append(
                {"class": f"{label}, {CORGI_SOURCE}", "images": "100"}
                | {COLUMNS["channels"]: f"{certified:.3g}", COLUMNS["published_attack"]: f"{attacked:.3g}"}
                | {"published attack / CORGI's test": _ratio(attacked, certified)}
            )
    return pd.DataFrame(rows).fillna("")


def conditions(frame: pd.DataFrame, data: Dataset, path: Path, options: CamOptions) -> str:
    """The parameters, so that the figures can be measured again, and what they mean."""
    tests = int((frame["part"] == "test").sum())
    below = int((frame["attack"] < frame[["channels", "pixels", "differences"]].max(axis=1)).sum())
    better = int((frame["differences"] > frame["channels"]).sum())
    return (
        f"{path.name} on {data.name}: {tests} test and {len(frame) - tests} training images, classified "
        f"correctly; k = {options.k}, {options.steps} halvings of [0, {options.most:g}], "
        f"seed {options.seed}; "
        f"{processor()}.\n"
        "Medians over images of the l_inf radius, in units of the input. Certificates: the class is fixed, "
        "the label free, the box not cut at the data range. Attacks keep the label and the range.\n"
        f"Differences certify more than CORGI's test at {better} of {len(frame)} images; "
        f"attacked below a certificate: {below}."
    )


def _check(network: Network, options: CamOptions) -> None:
    """Refuses impossible options before any image is measured."""
    from experiments.cam_radii.bounds import CamBounds

    for label in options.classes:
        pixels = CamBounds(network, label).pixels
        if options.k >= pixels:
            what = f"k = {options.k} is not between 1 and {pixels - 1}"
            raise SalverError(what, "class activation map", "choose another k")


def _published_network(data_dir: Path | None) -> Path:
    folder = data_dir or locate_user_data()
    path = folder / PUBLISHED_NETWORK if folder else PUBLISHED_NETWORK
    if folder is None or not path.is_file():
        hint = f"put it there, point --data-dir or SALVER_DATA at the folder that holds {PUBLISHED_NETWORK}"
        raise SalverError("CORGI's network is not on this machine", str(path), hint)
    return path


def _jobs(
    path: Path, network: Network, data: Dataset, label: int, options: CamOptions
) -> Iterable[_ImageJob]:
    import torch

    from salver.nets.torch_bridge import to_torch

    run, jobs = to_torch(network, torch.float64), []
    for part, x, y in (("test", data.test_x, data.test_y), ("training", data.train_x, data.train_y)):
        rows = np.flatnonzero(y == label)
        with torch.no_grad():
            won = run(torch.as_tensor(x[rows], dtype=torch.float64)).argmax(1).numpy()
        jobs += [
            _ImageJob(path, label, part, int(row), x[row].astype(np.float64), options)
            for row in rows[won == label]
        ]
    return jobs[: options.images]


def _run(jobs: list[_ImageJob], workers: int) -> Iterator[dict[str, object] | None]:
    if workers == 1:
        yield from map(_measured, jobs)
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        yield from pool.map(_measured, jobs)


def _measured(job: _ImageJob) -> dict[str, object] | None:
    """The row of one image; None where ranks k and k + 1 are tied. Torch's threads are as before."""
    import torch

    from experiments.cam_radii.bounds import CamBounds
    from experiments.cam_radii.radius import RadiusQuery, RadiusSearch, measure_radii
    from salver.explain.ranking import UndefinedConditionError

    options, threads = job.options, torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        network = read_classifier(job.network).network
        search = RadiusSearch(options.most, options.steps, options.slope_steps)
        seed = options.seed * 100_003 + job.index
        found = measure_radii(RadiusQuery(CamBounds(network, job.label), job.x, options.k), seed, search)
    except UndefinedConditionError:
        return None
    finally:
        torch.set_num_threads(threads)
    row: dict[str, object] = {"class": job.label, "part": job.part, "index": job.index}
    row |= {str(method): radius for method, radius in found.certified.items()}
    row |= {"published_attack": found.published_attack, "attack": found.attack}
    row |= {f"{name} (s)": seconds for name, seconds in found.seconds.items()}
    return row | {"seconds": sum(found.seconds.values())}


def _ratio(above: float, below: float) -> str:
    return f"{above / below:.1f}" if below > 0 and np.isfinite(above) else "-"
