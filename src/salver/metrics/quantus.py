"""Certified metrics and graphs for Quantus, which is not needed to import this: both are plain callables.

    from salver.metrics.quantus import CertifiedMetric, explain_func

    explain = explain_func(salver.Attribution(module, "gradient"))
    quantus.MaxSensitivity()(module, x_batch, y_batch, explain_func=explain)              # sampled
    CertifiedMetric("max-sensitivity", epsilon=0.02)(module, x_batch, y_batch)            # certified

Both can stand in `quantus.evaluate(metrics={...}, xai_methods={...})`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from salver.metrics.attribution import Attribution
from salver.metrics.measure import job_of, measurements
from salver.metrics.measured import Measured
from salver.metrics.metric import Metric

Side = Literal["certified", "attacked", "sampled", "original"]


def explain_func(attribution: Attribution) -> Callable[..., npt.NDArray[Any]]:
    """A function that Quantus explains with: (model, inputs, targets) -> maps [batch, ...].

    The maps are of the network that the attribution was made of; the model that Quantus hands over is not
    looked at.
    """

    def explain(model: Any, inputs: Any, targets: Any, **_: Any) -> npt.NDArray[Any]:
        return np.asarray(attribution.attribute(np.asarray(inputs), np.asarray(targets)))

    return explain


class CertifiedMetric:
    """A metric that is called as those of Quantus are, and gives one value an input.

    Args:
        metric: name or record. epsilon: radius of the box around an input, in its units.
        side: which value is given: the certified bound, the attacked value, or what the drawn inputs say in
            the same norm, or in that of Quantus.
        given: as for `salver.measure`, such as `method`, `timeout`, `input_range` and `k`.

    Attributes:
        measured: what the last call found, with witnesses.
    """

    def __init__(
        self, metric: str | Metric, *, epsilon: float, side: Side = "certified", **given: Any
    ) -> None:
        self.metric, self.side, self.given = metric, side, {"epsilon": epsilon, **given}
        self.measured: Measured | None = None

    def __call__(self, model: Any, x_batch: Any, y_batch: Any, a_batch: Any = None, **_: Any) -> list[float]:
        """The values of a batch.

        Args:
            model: the network that is explained; also as `salver.measure` takes it.
            x_batch: inputs [batch, ...]. y_batch: the classes that are explained [batch].
            a_batch: not looked at, nor is anything else that Quantus hands over: the maps are computed.

        Raises:
            SalverError: as `salver.measure`.
        """
        labels = [int(label) for label in np.ravel(y_batch)]
        job = job_of(model, np.asarray(x_batch), self.metric, labels=labels, **self.given)
        self.measured = Measured(job, tuple(measurements(job)))
        return [float(getattr(row, self.side)) for row in self.measured.rows]
