"""`salver bench kernels`: how near bounding comes to what one core can do, and how its time grows.

The work of a pass is counted off the network, not off the code: two bounds of every open neuron, each carried
back through all layers below, one multiplication and one addition a weight. Code that does more reaches less.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from experiments.bench_report import BenchReport, commit
from experiments.options import KernelOptions
from experiments.soundness.networks import Chain
from salver.explain.unroll import logit_combination, unroll
from salver.nets.network import Network, lower
from salver.nets.operators import Conv, Reshape
from salver.run.machine import processor
from salver.solvers.bounding.bounds import Bounds
from salver.solvers.bounding.propagation import propagate

CLASSES = 10
NEURONS = (10, 30, 100, 300, 1000, 3000, 10_000)
INPUTS = (2, 10, 30, 100, 300, 1000, 3000, 10_000)
FEW_INPUTS, FEW_NEURONS = 100, 200
PEAK_SIZE, REPEATS, ENOUGH_S = 1500, 5, 1.0
FLOPS = 4
"""A bound from below and one from above, each a multiplication and an addition."""


@dataclass(frozen=True)
class Layered:
    """A network in layers, each with its neurons and the weights that it multiplies with."""

    name: str
    network: Network
    neurons: tuple[int, ...]
    weights: tuple[int, ...]

    def work(self, bounds: Bounds) -> int:
        """Floating-point operations that the bounds of all hidden layers need."""
        total, below = 0, 0
        for signs, weights in zip(bounds.signs, self.weights[:-1], strict=True):
            total += FLOPS * (weights + int((signs == 0).sum()) * below)
            below += weights
        return total


def bench_kernels(root: Path, options: KernelOptions, say: Callable[[str], None] = print) -> Path:
    """Measures, prints and writes the tables; returns the folder below reports/ that was written."""
    with threadpool_limits(1):
        peak = peak_flops()
        tables = {
            "Share of the peak": share_table(options, peak),
            "Growth with unstable neurons": growth_table(options, "unstable", NEURONS),
            "Growth with inputs": growth_table(options, "inputs", INPUTS),
        }
    report = BenchReport("salver bench kernels", say)
    report.text(
        f"Commit {commit()}, {time.strftime('%Y-%m-%d', time.gmtime())}. {processor()}, one thread; "
        f"its peak, by the product of two float64 matrices: {peak / 1e9:.1f} GFLOP/s. "
        "CPU seconds, the least of several."
    )
    for title, table in tables.items():
        report.heading(title)
        report.table(table, title.lower().replace(" ", "-"))
    return report.write(root / "reports", "bench-kernels", "kernels")


def cpu_seconds(work: Callable[[], object]) -> float:
    """The least CPU seconds of `REPEATS` calls; fewer where they take long."""
    least, spent, calls = math.inf, 0.0, 0
    while calls < REPEATS and (not calls or spent < ENOUGH_S):
        since = time.process_time()
        work()
        found = time.process_time() - since
        least, spent, calls = min(least, found), spent + found, calls + 1
    return least


def peak_flops(size: int = PEAK_SIZE) -> float:
    """Operations a second of the product of two square float64 matrices."""
    left, right = np.random.default_rng(0).normal(size=(2, size, size))
    return float(2 * size**3 / cpu_seconds(lambda: left @ right))


def share_table(options: KernelOptions, peak: float) -> pd.DataFrame:
    """Per network: unstable neurons, operations, seconds of the bounds, and the share of the peak."""
    rows = []
    for made, reach in shapes(options.seed):
        seconds, bounds = _pass(made, reach)
        work = made.work(bounds)
        rows.append(
            {
                "network": made.name,
                "neurons": str(sum(made.neurons)),
                "unstable": str(bounds.undecided),
                "operations": f"{work:.1e}",
                "bounds (s)": f"{seconds:.3g}",
                "GFLOP/s": f"{work / seconds / 1e9:.2f}",
                "share of peak": f"{work / seconds / peak:.1%}",
            }
        )
    return pd.DataFrame(rows)


def growth_table(options: KernelOptions, what: str, sizes: Sequence[int]) -> pd.DataFrame:
    """Per size: seconds of the bounds of the classifier, and of its gradient with all outputs.

    Args:
        what: `unstable` for the hidden neurons, all of them open, or `inputs`.
    """
    rows, over = [], [False, False]
    for size in sizes:
        inputs, neurons = (FEW_INPUTS, size) if what == "unstable" else (size, FEW_NEURONS)
        made = dense([inputs, -(-neurons // 2), neurons // 2, CLASSES], options.seed)
        cells = []
        for column, gradient in enumerate((False, True)):
            if over[column]:
                cells.append("-")
                continue
            seconds, bounds = _pass(made, _wide(inputs), gradient)
            over[column] = seconds > options.most
            cells.append(f"{seconds:.3g}")
        rows.append(
            {
                "inputs": str(inputs),
                "unstable": str(bounds.undecided),
                "bounds (s)": cells[0],
                "with the map (s)": cells[1],
            }
        )
        if all(over):
            break
    return pd.DataFrame(rows)


def _wide(inputs: int) -> float:
    """Half the side of a box around 0 in which most neurons of a random network are open."""
    return 4.0 / math.sqrt(inputs)


def _pass(made: Layered, reach: float, gradient: bool = False) -> tuple[float, Bounds]:
    """CPU seconds of the bounds over a box around 0, and the bounds."""
    network = unroll(made.network, logit_combination(CLASSES, 0)) if gradient else made.network
    program, side = lower(network), np.full(made.network.input_size, reach)
    found: list[Bounds] = []
    seconds = cpu_seconds(lambda: found.append(propagate(program, -side, side, outputs=gradient)))
    return seconds, found[-1]


def shapes(seed: int) -> Iterable[tuple[Layered, float]]:
    """Networks of the shapes that the field uses, with the half side of a box around 0."""
    yield dense([784, 256, 256, 256, 256, CLASSES], seed), 0.02
    yield dense([784, 1000, 1000, CLASSES], seed), 0.02
    yield dense([5, 50, 50, 50, 50, 50, 50, CLASSES], seed), 0.5
    yield convolutional((3, 32, 32), (8, 16), 100, seed), 0.02
    yield convolutional((3, 32, 32), (16, 32), 100, seed), 0.02


def dense(sizes: Sequence[int], seed: int) -> Layered:
    """A network of dense layers with random weights, ReLUs between them."""
    random, chain = np.random.default_rng(seed), Chain((sizes[0],))
    for number, (wide, narrow) in enumerate(pairwise(sizes)):
        if number:
            chain.relu()
        chain.linear(_drawn(random, (narrow, wide)), np.zeros(narrow))
    weights = tuple(wide * narrow for wide, narrow in pairwise(sizes))
    return Layered("dense " + "-".join(map(str, sizes)), chain.network(), tuple(sizes[1:-1]), weights)


def convolutional(image: tuple[int, int, int], filters: Sequence[int], hidden: int, seed: int) -> Layered:
    """Convolutions 4 by 4 of stride 2, then a dense layer, with random weights, ReLUs behind each."""
    random, chain = np.random.default_rng(seed), Chain((math.prod(image),))
    chain.add(Reshape(), image)
    neurons, weights = list[int](), list[int]()
    for width in filters:
        weight = _drawn(random, (width, chain.shape[0], 4, 4))
        chain.conv(Conv(weight, np.zeros(width, np.float32), (2, 2), (1, 1, 1, 1)))
        chain.relu()
        neurons.append(math.prod(chain.shape))
        weights.append(neurons[-1] * weight[0].size)
    chain.flat()
    flat = chain.shape[0]
    chain.linear(_drawn(random, (hidden, flat)), np.zeros(hidden))
    chain.relu()
    chain.linear(_drawn(random, (CLASSES, hidden)), np.zeros(CLASSES))
    name = f"convolutional {'x'.join(map(str, image))}, filters {', '.join(map(str, filters))}"
    return Layered(name, chain.network(), (*neurons, hidden), (*weights, flat * hidden, hidden * CLASSES))


def _drawn(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return (random.normal(size=shape) * math.sqrt(2.0 / math.prod(shape[1:]))).astype(np.float32)
