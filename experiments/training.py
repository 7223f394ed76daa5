"""`salver bench training`: do training regimes move what can be verified about a network's explanations?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from experiments import training_tables as tables
from experiments.bench_report import BenchReport
from experiments.suite_runs import conditions, instance_set, judged_suite
from experiments.training_tables import NetworkAccuracy
from salver.core.errors import SalverError
from salver.families.instance import Facts
from salver.families.suite import read_suite
from salver.run.manifest import RunOptions
from salver.run.run_suite import choose_runners, limits_for
from salver.zoo.datasets import load

SUITE = "training-pairs"
FAMILY = "training_pairs"
PAIRED = (
    "Differences are percentage points against plain training on the same seed and point, with 95 % "
    "bootstrap intervals over seeds and points."
)


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
    made = instance_set(suite, root, data_dir)
    judged = judged_suite(suite, made, root, options)
    frame = tables.training_frame(judged.rows, judged.run.instances.by_id)
    report = BenchReport("salver bench training", say)
    report.text(f"{suite.title}. {conditions(judged.run)} {PAIRED}", printed=False)
    report.heading("Networks")
    facts = (instance.known for instance in made[1].instances)
    report.table(tables.network_table(measure_networks(facts, data_dir)), "networks")
    for question, title in tables.QUESTIONS.items():
        if (frame["question"] == question).any():
            report.heading(title)
            report.table(tables.question_table(frame, question), question)
    report.heading("Answers")
    report.text("\n".join(f"- {sentence}" for sentence in tables.answers(frame)))
    return report.write(root / "reports", "training", "training")


def measure_networks(facts: Iterable[Facts], data_dir: Path | None = None) -> list[NetworkAccuracy]:
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
        measured.append(NetworkAccuracy(regime, seed, epsilon, accuracy(module, data), *attacked))
    return measured
