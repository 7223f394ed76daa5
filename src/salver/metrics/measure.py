"""Metrics at many points: what is read, and the intervals one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from salver.core.errors import SalverError, counted, suggestion
from salver.core.records import Record, parse_options
from salver.explain.ranking import UndefinedConditionError
from salver.families.factory import Box, InstanceFactory
from salver.families.questions import EntryMoves
from salver.metrics import changes, kept  # noqa: F401 - registers the metrics
from salver.metrics.measurement import Measurement, MetricsJob, Sampling
from salver.metrics.metric import METRICS, Array, ExplainedInput, Metric
from salver.metrics.search import EarlierFindings, PointSearch
from salver.points.decide import map_by_definition
from salver.points.entries import chosen, method_of
from salver.points.given import given_point, given_rows
from salver.points.options import PointOptions, Solving, option_record, plain
from salver.points.point_question import PointQuestion, ask_of
from salver.points.subject import subject_of
from salver.solvers.registry import embedded_solver
from salver.spec import Ball

SECONDS = 2.0
"""For one metric at one point, where nothing else is said."""
POINT = EntryMoves(delta=0.0)
"""Any question: a point is read and the network explained there as for any other."""


def known_metrics() -> list[str]:
    """Names of all metrics."""
    return list(METRICS.known)


def metrics_named(names: Any, given: Mapping[str, Any]) -> tuple[Metric, ...]:
    """The metrics that names and entries describe; all where none is named.

    Args:
        names: a name or its beginning, a record, or several of them. given: entries of the named ones.

    Raises:
        SalverError: no such metric, an entry that none of them has, or a value that it cannot have.
    """
    wanted = known_metrics() if names is None else [names] if isinstance(names, str | Metric) else list(names)
    if not wanted:
        raise SalverError("names nothing", "metrics", f"choose some of {', '.join(known_metrics())}")
    kinds = [one if isinstance(one, Metric) else chosen(one, METRICS, "metric") for one in wanted]
    own = [name for kind in kinds if isinstance(kind, str) for name in _entries(kind)]
    for name in given:
        if name not in own:
            raise SalverError("no metric that is asked for has such an entry", name, suggestion(name, own))
    found = tuple(one if isinstance(one, Metric) else _record(one, given) for one in kinds)
    if twice := next((one for number, one in enumerate(found) if one in found[:number]), None):
        raise SalverError(f"{twice.kind} is named twice", "metrics", "name each once")
    return found


def _record(kind: str, given: Mapping[str, Any]) -> Metric:
    values = {name: plain(given[name]) for name in _entries(kind) if name in given}
    record: Metric = parse_options(METRICS.known[kind], values, {name: name for name in values})
    return record


def _entries(kind: str) -> list[str]:
    return [name for name in METRICS.known[kind].model_fields if name != METRICS.tag]


def entry_names() -> frozenset[str]:
    """What metrics let be said."""
    return frozenset(name for kind in METRICS.known for name in _entries(kind))


def job_of(model: Any, points: Any = None, metrics: Any = None, **given: Any) -> MetricsJob:
    """Reads all that is named; nothing is solved yet.

    Args:
        model: see `subject_of`. points: inputs, or None for the first `count` rows of `dataset`.
        metrics: see `metrics_named`.
        given: `method`, `dataset`, `labels` (classes that are explained, one a point), what `Sampling`,
            `Solving` and `PointOptions` have, and entries of metrics and of the method.

    Raises:
        SalverError: something that is named cannot be had, or does not fit the rest.
    """
    sampling = option_record(Sampling, _popped(given, Sampling))
    solving = option_record(Solving, {"timeout": SECONDS, **_popped(given, Solving), "seed": sampling.seed})
    wanted = metrics_named(metrics, {name: given.pop(name) for name in set(given) & entry_names()})
    method, dataset, labels = (given.pop(name, None) for name in ("method", "dataset", "labels"))
    options = option_record(PointOptions, _popped(given, PointOptions))
    explanation = method_of(method or "gradient", given)
    if points is None and dataset is None:
        raise SalverError("no points are given", "points", "give an array of inputs, or name a data set")
    if isinstance(points, str | Path):
        hint = "load it first: numpy.load(path); or name data as `dataset`"
        raise SalverError(f"{str(points)!r:.60} is no array of inputs", "points", hint)
    if points is None:
        rows = given_rows(dataset, sampling.count, options.data_dir)
    else:
        rows = [given_point(x, dataset, None, options.data_dir) for x in points]
    if not rows:
        raise SalverError("holds no points", "points", "give at least one input")
    subject = subject_of(model, rows[0].examples, options.output)
    own = tuple(labels or [options.label] * len(rows))
    if len(own) != len(rows):
        what = f"{counted(len(own), 'class')} for {counted(len(rows), 'point')}"
        raise SalverError(what, "labels", "give one for every point")
    return MetricsJob(subject, tuple(rows), own, wanted, explanation, options, sampling, solving)


def _popped(given: dict[str, Any], kind: type[Record]) -> dict[str, Any]:
    """What is said of a record, taken out of all that is said."""
    return {name: given.pop(name) for name in set(given) & set(kind.model_fields)}


def measurements(job: MetricsJob) -> Iterator[Measurement]:
    """Measures every metric at every point, point by point.

    Raises:
        SalverError: a point, a metric or a method does not fit the network, or the solver needs a package
            that is missing.
    """
    embedded_solver(job.solving.solver).load()
    factory: InstanceFactory | None = None
    with TemporaryDirectory(prefix="salver-metrics-") as folder:
        for index, point in enumerate(job.points):
            label, known = job.labels[index], EarlierFindings()
            for metric in job.metrics:
                ranked = metric.ranked or job.explanation.absolute
                sizes = ranked if job.options.absolute is None else job.options.absolute
                options = job.options.model_copy(update={"absolute": sizes, "label": label})
                asked = ask_of(job.subject, point, POINT, job.explanation, options, factory)
                factory = asked.posed.factory
                yield measurement(job, index, metric, asked, Path(folder), known)


def measurement(
    job: MetricsJob, index: int, metric: Metric, asked: PointQuestion, folder: Path, known: EarlierFindings
) -> Measurement:
    """One metric at one point.

    Args:
        index: of the point. asked: any question about the metric's map there. folder: for files of queries.
        known: from other metrics at the point.

    Raises:
        SalverError: the metric does not fit the map, or the solver does not take the network.
    """
    posed = asked.posed
    here = ExplainedInput(
        posed.point.centre, posed.reference, posed.point.label, job.sampling.epsilon, asked.norm
    )
    try:
        metric.refuse_undefined(here)
    except UndefinedConditionError as error:
        nothing = float("nan")
        return Measurement(metric, index, asked, here, *(nothing,) * 4, reason=error.what, is_defined=False)
    # What a method's definition imports is imported before the clock is started.
    map_by_definition(asked, here.x)
    search = PointSearch(metric, asked, here, job.solving, folder, known)
    region, sampling = search.region(here.within(here.epsilon)), job.sampling
    drawn = search.seen(draws(here, *region, sampling.draws, sampling.seed + index))
    search.attack(drawn)
    certified = metric.certified(here, search)
    return Measurement(
        metric,
        index,
        asked,
        here,
        metric.worst(metric.values(here, drawn)),
        search.worst,
        certified,
        metric.of_original(here, drawn),
        search.found,
        search.questions,
        job.solving.timeout - search.budget.left,
        search.reason,
    )


def draws(here: ExplainedInput, box: Box, ball: Ball | None, count: int, seed: int) -> Array:
    """Inputs [count, n] drawn as Quantus' `batch_uniform_noise` draws them for a batch of one, in the box.

    Where there is a ball, they are drawn evenly from it, and moved into the box.
    """
    if ball is not None:
        return ball.nearest(ball.uniform(count, np.random.default_rng(seed)), *box)
    noise = np.random.RandomState(seed).uniform(-here.epsilon, here.epsilon, (count, len(here.x)))
    return np.clip((here.x + noise).astype(np.float32).astype(np.float64), *box)
