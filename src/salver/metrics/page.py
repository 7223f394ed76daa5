"""What was measured as files: a page that loads nothing, a table, and inputs with the attacked values."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from salver.core.files import refuse_existing, refuse_missing_parent, whole_folder, write_atomically
from salver.metrics.measurement import Measurement, printed, rounded
from salver.points.picture import panel_source
from salver.report.side_by_side import Side, SideBySide, panels
from salver.report.table import Table
from salver.report.templating import environment

if TYPE_CHECKING:
    import pandas as pd

HEADINGS = (
    "point",
    "class",
    "sampled",
    "attacked",
    "certified",
    "original",
    "questions",
    "seconds",
    "reason",
)


@dataclass(frozen=True)
class MetricPart:
    """What a page says of one metric.

    Attributes:
        sentence: about the point with the worst attacked value; empty where none was found.
        panels: captions and pictures of it. rows: of all points.
    """

    title: str
    formula: str
    sentence: str
    panels: tuple[tuple[str, str], ...]
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def refuse_folder(folder: Path) -> None:
    """Refuses a folder that is there, or whose parent is not. Raises: SalverError."""
    refuse_missing_parent(folder)
    refuse_existing(folder)


@dataclass(frozen=True, eq=False)
class Page:
    """What a page shows: the network, what was measured in words, a summary, and every metric's points."""

    network: str
    sentence: str
    table: Table
    rows: tuple[tuple[Measurement, ...], ...]

    @property
    def document(self) -> str:
        """The whole page."""
        return (
            environment()
            .get_template("metrics.html.j2")
            .render(
                network=self.network,
                sentence=self.sentence,
                style=(files("salver.report.page") / "assets" / "page.css").read_text(),
                summary=self.table,
                parts=[_part(rows) for rows in self.rows],
            )
        )


def write_page(page: Page, frame: pd.DataFrame, folder: Path) -> None:
    """Writes `index.html`, `metrics.csv` and `witnesses.npz` into a new folder.

    `witnesses.npz` holds for every metric `METRIC/rows`, the numbers of the points that have a witness, and
    `METRIC/x`, the witnesses, flattened. A metric is named by its kind and what was said of it.

    Args:
        frame: a row for every metric and point.

    Raises:
        SalverError: the folder is there, or cannot be written.
    """
    refuse_folder(folder)
    document, witnesses = page.document, _witnesses(page)
    with whole_folder(folder):
        write_atomically(folder / "index.html", document)
        write_atomically(folder / "metrics.csv", frame.to_csv(index=False))
        write_atomically(folder / "witnesses.npz", witnesses)


def _part(rows: Sequence[Measurement]) -> MetricPart:
    metric = rows[0].metric
    shown = [row for row in rows if row.witness is not None]
    worst = (max if metric.largest_is_worst else min)(shown, key=lambda row: row.attacked, default=None)
    return MetricPart(
        ", ".join(filter(None, (metric.title, metric.stated, metric.criterion.value))),
        metric.formula,
        "" if worst is None else worst.sentence,
        () if worst is None else tuple((one.caption, panel_source(one)) for one in panels(scene(worst))),
        HEADINGS,
        tuple(_row(row) for row in rows),
    )


def _row(row: Measurement) -> tuple[str, ...]:
    metric = row.metric
    return (
        row.asked.given.origin, str(row.here.label), rounded(row.sampled),
        printed(row.attacked, metric, attacked=True), printed(row.certified, metric), rounded(row.original),
        str(row.questions), f"{row.seconds:.2f}", row.reason,
    )  # fmt: skip


def scene(row: Measurement) -> SideBySide:
    """The point and the witness of a measurement, side by side."""
    given, sides = row.asked.given, [Side("point", f"class {row.here.label}", row.here.x, row.here.map)]
    if row.witness is not None:
        label = int(row.witness.logits[0].argmax())
        sides.append(Side("witness", f"class {label}", row.witness.x[0], row.witness.maps[0]))
    shapes = given.shape, row.asked.map_shape
    return SideBySide(tuple(sides), *shapes, given.clip, row.here.epsilon, given.features)


def _witnesses(page: Page) -> bytes:
    arrays: dict[str, npt.NDArray[Any]] = {}
    for rows in page.rows:
        metric, size = rows[0].metric, rows[0].here.x.size
        name = f"{metric.kind} {metric.stated}".rstrip()
        found = {row.index: row.witness.x[0] for row in rows if row.witness is not None}
        arrays[f"{name}/rows"] = np.array(list(found), np.int64)
        arrays[f"{name}/x"] = np.array(list(found.values()), np.float32).reshape(-1, size)
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **arrays)
    return stream.getvalue()
