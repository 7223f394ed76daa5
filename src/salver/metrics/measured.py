"""All that was measured, as a table, a page and files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from salver.core.errors import counted
from salver.metrics.measurement import Measurement, MetricsJob, printed, rounded
from salver.metrics.metric import Metric
from salver.points.answer import euclidean
from salver.report.table import Table
from salver.solvers.registry import embedded_solver

if TYPE_CHECKING:
    import pandas as pd

HEADINGS = (
    "metric", "criterion", "of", "points",
    "sampled", "attacked", "certified", "bounded", "closed", "original",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Measured:
    """All intervals of a job, point by point."""

    job: MetricsJob
    rows: tuple[Measurement, ...]

    def of(self, metric: Metric) -> list[Measurement]:
        """The intervals of one metric."""
        return [row for row in self.rows if row.metric is metric]

    @property
    def frame(self) -> pd.DataFrame:
        """A row for every metric and point, with numbers as they are."""
        import pandas as pd

        return pd.DataFrame([row.values for row in self.rows])

    @property
    def table(self) -> Table:
        """A row for every metric: means of shares, and medians of what has no largest value."""
        return Table(
            HEADINGS, tuple(_summary(self.of(metric)) for metric in self.job.metrics), texts=3, grouped=0
        )

    @property
    def values(self) -> dict[str, object]:
        """Everything as values that JSON has; what is no finite number is null."""
        finite = self.frame.astype(object).where(lambda frame: ~frame.isin([np.inf, np.nan]), None)
        return {
            "sentence": self.sentence,
            "explanation": self.job.explanation.model_dump(mode="json"),
            "metrics": [metric.model_dump(mode="json") for metric in self.job.metrics],
            "rows": finite.to_dict("records"),
        }

    @property
    def sentence(self) -> str:
        """What was measured, in words."""
        job, sampling, solving = self.job, self.job.sampling, self.job.solving
        certified = embedded_solver(solving.solver).certified
        radius = f"{sampling.epsilon:g}{euclidean(job.options.norm)}"
        decided = f"{'certified' if certified else 'attacked, but not certified,'} by {solving.solver}"
        return (
            f"{counted(len(job.points), 'point')} of {job.subject.name}, the {job.explanation.name}, within "
            f"{radius}; {counted(sampling.draws, 'draw')} a point, {decided} "
            f"within {solving.timeout:g} s a value"
        )

    def save(self, folder: str | Path) -> None:
        """Writes a page, a table and the witnesses into a new folder; see `write_page`.

        Raises:
            SalverError: the folder is there, or cannot be written.
        """
        from salver.metrics.page import Page, write_page

        parts = [self.of(metric) for metric in self.job.metrics]
        page = Page(self.job.subject.name, self.sentence, self.table, tuple(map(tuple, parts)))
        write_page(page, self.frame, Path(folder))

    def __str__(self) -> str:
        return f"{self.sentence}\n{self.table.text()}"


def _summary(rows: Sequence[Measurement]) -> tuple[str, ...]:
    metric, known = rows[0].metric, [row for row in rows if row.is_defined]
    middle = np.median if metric.largest_is_worst else np.mean

    def of(values: list[float]) -> float:
        return float(middle(values)) if values and not np.isnan(values).any() else float("nan")

    return (
        f"{metric.title} ({metric.stated})" if metric.stated else metric.title,
        metric.criterion.value,
        "median" if metric.largest_is_worst else "mean",
        str(len(known)) if len(known) == len(rows) else f"{len(known)} of {len(rows)}",
        rounded(of([row.sampled for row in known])),
        printed(of([row.attacked for row in known]), metric, attacked=True),
        printed(of([row.certified for row in known]), metric),
        str(sum(row.bounded for row in known)),
        str(sum(row.closed for row in known)),
        rounded(of([row.original for row in known])),
    )
