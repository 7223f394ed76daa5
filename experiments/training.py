"""`salver bench training`: do training regimes move what can be verified about a network's explanations?"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd

from experiments import training_tables as tables
from experiments.text import as_text
from experiments.training_tables import Measured
from salver.cli.progress import counting, finishing
from salver.core.errors import SalverError
from salver.core.files import fresh_folder, write_atomically
from salver.families.generate import generate, up_to_date
from salver.families.instance import Facts, Manifest
from salver.families.instance_set import set_folder
from salver.families.suite import Suite, read_suite
from salver.judge.judged import judge_run
from salver.run.loaded import load_run
from salver.run.manifest import RunManifest, RunOptions
from salver.run.run_suite import choose_runners, limits_for, run_suite
from salver.zoo.datasets import load

SUITE = "training-pairs"
FAMILY = "training_pairs"


def bench_training(
    root: Path,
    options: RunOptions,
    suite_key: str = SUITE,
    data_dir: Path | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Runs the suite with one solver and writes the comparison of regimes; returns the folder written.

    Args:
        options: of the run; `solvers` holds exactly one.
        suite_key: a suite, or a file, of family training_pairs only.

    Raises:
        SalverError: not one solver, another family in the suite, or the run was stopped.
    """
    if len(options.solvers or ()) != 1:
        raise SalverError("regimes are compared under one solver", "bench training", "give one --solver")
    suite = read_suite(suite_key)
    if any(entry.generator != FAMILY for entry in suite.family):
        raise SalverError(f"is not of family {FAMILY} alone", suite.key, f"use the suite {SUITE}")
    # What is wrong with the command line is said before networks are trained for it.
    limits_for(options, suite)
    choose_runners(options)
    folder, manifest = instance_set(suite, root, data_dir)
    with finishing() as (on_plan, on_finish):
        run_dir, summary = run_suite(suite, manifest, folder, root, options, on_plan, on_finish)
    if summary.left:
        raise SalverError("stopped before all jobs were run", suite.key, "go on with --resume")
    found = judge_run(load_run(run_dir, root))
    run, frame = found.run.manifest, tables.training_frame(found.rows, found.run.instances.by_id)
    measured = measure_networks((instance.known for instance in manifest.instances), data_dir)
    return _write(root, suite, run, run_dir, frame, measured, say)


def measure_networks(facts: Iterable[Facts], data_dir: Path | None = None) -> list[Measured]:
    """Accuracies of every network of a set on its whole test part, at the set's largest label radius.

    Raises:
        SalverError: missing data.
    """
    from salver.zoo.attacks import attacked_accuracy
    from salver.zoo.networks import ZOO, trained
    from salver.zoo.training import accuracy

    every = list(facts)
    labels = [fact.epsilon for fact in every if fact.question.kind == "label-changes"]
    epsilon = max(labels or [fact.epsilon for fact in every])
    networks = {fact.network: tables.training_of(fact) for fact in every}
    measured = []
    for name, training in networks.items():
        regime, seed = training.regime, training.network_seed
        spec = ZOO[name.removesuffix(f"-s{seed}")]
        module, data = trained(spec, seed, data_dir), load(spec.dataset, data_dir)
        attacked = attacked_accuracy(module, data, epsilon, seed)
        measured.append(Measured(regime, seed, epsilon, accuracy(module, data), *attacked))
    return measured


def instance_set(suite: Suite, root: Path, data_dir: Path | None) -> tuple[Path, Manifest]:
    manifest = up_to_date(suite, root, data_dir)
    if manifest is not None:
        return set_folder(root, suite), manifest
    with counting(f"generating {suite.key}") as progress:
        return generate(suite, root, data_dir, progress)


def _write(
    root: Path,
    suite: Suite,
    run: RunManifest,
    run_dir: Path,
    frame: pd.DataFrame,
    measured: list[Measured],
    say: Callable[[str], None],
) -> Path:
    made = {"networks": ("Networks", tables.network_table(measured))}
    for question, title in tables.QUESTIONS.items():
        if (frame["question"] == question).any():
            made[question] = (title, tables.question_table(frame, question))
    sentences = tables.answers(frame)
    folder = fresh_folder(root / "reports", "training")
    lines = ["# salver bench training\n", f"{_conditions(suite, run, frame, run_dir)}\n"]
    for stem, (title, table) in made.items():
        say(f"\n{title}\n{as_text(table, 'plain')}")
        lines += [f"## {title}\n", as_text(table, "github")]
        write_atomically(folder / f"{stem}.csv", table.to_csv(index=False))
    say("\n".join(sentences))
    lines += ["## Answers\n", *(f"- {sentence}" for sentence in sentences), ""]
    write_atomically(folder / "training.md", "\n".join(lines))
    say(f"report: {os.path.relpath(folder / 'training.md')}")
    return folder


def _conditions(suite: Suite, run: RunManifest, frame: pd.DataFrame, run_dir: Path) -> str:
    """What the figures were measured on, so that they can be measured again."""
    versions = ", ".join(f"{name} {version}" for name, version in sorted(run.solvers.items()))
    limit = " or ".join(sorted({f"{seconds:g}" for seconds in frame["limit_s"]}))
    return (
        f"{suite.title}. {run.machine.processor}, {run.options.cores or 1} core(s) and {limit} s a run. "
        f"Solver: {versions}. Run: reports/{run_dir.name}. Differences are percentage points against plain "
        "training on the same seed and point, with 95 % bootstrap intervals over seeds and points."
    )
