"""Draws the plots in a process of its own, beside the rest of a report: Vega lets no other thread work."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context

import pandas as pd

from salver.report.figures.plot import Plot

Drawing = Callable[[], list[Plot]]
"""Waits for plots and returns them."""
DRAWN_BY = "salver.report.figures.plots"


def drawn_here(frame: pd.DataFrame) -> list[Plot]:
    """The plots of a frame (see `plots.all_plots`), drawn in this process."""
    # Altair takes as long to import as a small report takes otherwise.
    from salver.report.figures.plots import all_plots

    return all_plots(frame)


@contextmanager
def background_drawing() -> Iterator[Callable[[pd.DataFrame], Drawing]]:
    """Starts the process, which imports what it needs meanwhile; gives a function that hands it a frame.

    That function returns at once; what it returns waits for the plots. Should the process die, they are
    drawn here. An error while drawing is raised where they are waited for.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        pool.submit(importlib.import_module, DRAWN_BY)

        def start(frame: pd.DataFrame) -> Drawing:
            try:
                future = pool.submit(drawn_here, frame)
            except BrokenProcessPool:
                return lambda: drawn_here(frame)

            def wait() -> list[Plot]:
                try:
                    return future.result()
                except BrokenProcessPool:
                    return drawn_here(frame)

            return wait

        yield start
