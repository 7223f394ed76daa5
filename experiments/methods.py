"""Method by method: how far its graphs are from the definition, how large they are, and what solvers decide.

    python -m experiments.methods RUN [RUN ...]

The runs are of one suite, such as `methods`; one table is printed as Markdown. The graphs compared are the
files of the set, under ONNX Runtime, at random inputs within the range of the data.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd

from experiments.bench_report import as_text
from salver import __version__
from salver.explain.explanation import METHODS, Explanation, Form
from salver.judge.judged import judge_run
from salver.judge.loaded import LoadedInstance, LoadedSet
from salver.judge.robustness import robustness
from salver.judge.scoring import VIRTUAL_BEST, results_frame
from salver.nets.runtime import Runtime
from salver.run.loaded import LoadedRun, named_run

POINTS = 100
"""Inputs at which each graph is compared."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the tables of some runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("runs", nargs="+", help="folders or names of runs")
    runs = [named_run(name) for name in parser.parse_args(arguments).runs]
    print(f"Measured on {date.today()} with salver {__version__}, suite `{runs[0].manifest.suite}`.\n")
    print(as_text(table(runs), "pipe"), end="")


def table(runs: Sequence[LoadedRun]) -> pd.DataFrame:
    """A row for every method: form, networks, deviation, size; `verified + falsified of all` by solver."""
    rows_of_graphs = pd.DataFrame(graphs(runs[0].instances))
    rows = rows_of_graphs.groupby("method", as_index=False).agg(
        networks=("network", lambda names: ", ".join(sorted(set(names)))),
        deviation=("deviation", "max"),
        operators=("operators", "max"),
        kib=("kib", "max"),
    )
    rows["form"] = [_form(method) for method in rows["method"]]
    for run in runs:
        judged = judge_run(run).rows
        shares = robustness(results_frame(judged, run.instances.by_id), ["method"])
        for solver, part in shares.groupby("solver", sort=False):
            if solver != VIRTUAL_BEST:
                said = {str(row["method"]): _decided(row) for _, row in part.iterrows()}
                rows[solver] = rows["method"].map(said)
    rows = rows.sort_values(
        "form", key=lambda forms: forms.map([form.value for form in Form].index), kind="stable"
    )
    rows["deviation"] = rows["deviation"].map("{:.1e}".format)
    rows["kib"] = rows["kib"].map("{:.0f}".format)
    first = ["method", "form", "networks", "deviation", "operators", "kib"]
    return rows[[*first, *(name for name in rows if name not in first)]]


def _form(method: str) -> str:
    record = METHODS.known[method]
    assert issubclass(record, Explanation)
    return record.form.value


def _decided(part: pd.Series[Any]) -> str:
    count = int(part["instances"])
    verified, falsified = (round(count * part[name]) for name in ("certified", "attacked"))
    wrong = int(part["wrong"])
    return f"{verified} + {falsified} of {count}" + (f", {wrong} wrong" if wrong else "")


def graphs(instances: LoadedSet) -> Iterator[dict[str, object]]:
    """Every graph of a set once: method, network, deviation, operators and KiB."""
    seen: set[Path] = set()
    for key in instances.by_id:
        one = instances[key]
        if one.onnx in seen or one.facts.explanation is None:
            continue
        seen.add(one.onnx)
        content = one.onnx.read_bytes()
        yield {
            "method": one.facts.explanation.method,
            "network": one.facts.network,
            "deviation": _deviation(one, Runtime(content)),
            "operators": len(onnx.load_from_string(content).graph.node),
            "kib": len(content) / 1024,
        }


def _deviation(one: LoadedInstance, runtime: Runtime) -> float:
    """Largest difference from the definition, relative to the map's largest entry."""
    facts = one.facts
    low, high = facts.spread
    x = np.random.default_rng(0).uniform(low, high, (POINTS, len(low))).astype(np.float32)
    expected = facts.expected_outputs(one.classifier, x)[:, facts.logits :]
    off, scale = np.abs(runtime.samples(x)[:, facts.logits :] - expected).max(), np.abs(expected).max()
    return float(off / (scale or 1.0))


if __name__ == "__main__":
    main()
