"""The command `salver bench`."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any

import typer

from salver.cli import completing
from salver.cli.help_text import Commands
from salver.cli.json_output import kept_for_json, print_json, tables_of
from salver.cli.options import CORES, AsJson, DataDir, listed

bench_app = Commands(help="Measure salver itself.", no_args_is_help=True)

Timeout = Annotated[float | None, typer.Option("--timeout", min=0.001, help="wall seconds a run")]
Slots = Annotated[int, typer.Option("--workers", "-j", help="slots of one core")]
Solver = Annotated[
    str, typer.Option("--solver", help="the solver that answers", autocompletion=completing.solver)
]


def _tables(incomplete: str) -> list[str]:
    """Tables of `bench solvers`, in a list with commas."""
    from experiments.solvers import PARTS

    return completing.in_a_list(incomplete, PARTS)


def _measure(name: str, record: str, asked: dict[str, Any], as_json: bool, *others: object) -> None:
    """Runs `bench_NAME` of `experiments.NAME`, which prints its tables and returns its folder.

    A bench that was skipped returns None, and its tables are none.

    Args:
        record: name of the record of its options there. asked: options that were given, without those None.
                as_json: whether the tables are printed for programs, as one JSON value.
        others: what the bench is given behind project and options.
    """
    from salver.core.project import project_root
    from salver.core.records import parse_options

    module = importlib.import_module(f"experiments.{name}")
    options = parse_options(
        getattr(module, record), {key: value for key, value in asked.items() if value is not None}, NAMED
    )
    with kept_for_json(as_json):
        folder = getattr(module, f"bench_{name}")(project_root(), options, *others)
    if as_json:
        print_json(tables_of(folder) if folder else {"report": None, "tables": {}})


NAMED = {"draws": "--q", "confidence": "--p"}
"""Options whose names do not follow from a record's entries."""


@bench_app.callback()
def _bench() -> None:
    """Measure salver itself."""


@bench_app.command()
def solvers(
    tables: Annotated[
        str | None,
        typer.Option(
            "--tables", help="paper-1, paper-2, scaling, lifted; default: all", autocompletion=_tables
        ),
    ] = None,
    solvers: Annotated[
        str | None,
        typer.Option(
            "--solvers", help="comma-separated; default: each table's own", autocompletion=completing.solvers
        ),
    ] = None,
    timeout: Timeout = None,
    cores: Annotated[
        int | None, typer.Option("--cores", help="cores a run (default: each table's own)")
    ] = None,
    workers: Slots = CORES,
    device: Annotated[
        str, typer.Option("--device", help="cpu or cuda", autocompletion=completing.one_of("cpu", "cuda"))
    ] = "cpu",
    resume: Annotated[bool, typer.Option("--resume", help="go on with each suite's latest run")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Compare the solvers on published tables, a scaling set and networks of VNN-COMP.

    Every solver gets the same instances.

    Example: salver bench solvers --tables paper-1 --solvers hybrid,milp
    """
    asked = {
        "solvers": listed(solvers, "--solvers"), "timeout": timeout, "cores": cores, "workers": workers,
        "device": device, "resume": resume,
    }  # fmt: skip
    _measure("solvers", "RunOptions", asked, as_json, listed(tables, "--tables"), data_dir)


@bench_app.command()
def training(
    suite: Annotated[
        str, typer.Option("--suite", help="a suite of training pairs", autocompletion=completing.suites)
    ] = "training-pairs",
    solver: Solver = "hybrid",
    timeout: Timeout = None,
    cores: Annotated[int, typer.Option("--cores", help="cores a run")] = 1,
    workers: Slots = CORES,
    resume: Annotated[bool, typer.Option("--resume", help="go on with the suite's latest run")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Compare training regimes by what is verified of them.

    Accuracy, attacks, and verified label, saliency and ranking robustness.

    Example: salver bench training --timeout 10
    """
    asked = {"solvers": (solver,), "timeout": timeout, "cores": cores, "workers": workers, "resume": resume}
    _measure("training", "RunOptions", asked, as_json, suite, data_dir)


@bench_app.command()
def smoothgrad(
    network: Annotated[str, typer.Option("--network", help="key of the zoo")] = "digits-32x32",
    points: Annotated[int, typer.Option("--points", help="test points")] = 10,
    q: Annotated[int, typer.Option("--q", help="samples of a map")] = 8192,
    p: Annotated[float, typer.Option("--p", help="confidence of a certificate")] = 0.95,
    k_share: Annotated[float, typer.Option("--k-share", help="size of the top set, K / n")] = 0.2,
    rho: Annotated[float, typer.Option("--rho", help="l2 radius, in units of the input")] = 0.03,
    sigmas: Annotated[str | None, typer.Option("--sigmas", help="noise levels, comma-separated")] = None,
    taus: Annotated[str | None, typer.Option("--taus", help="kept shares, comma-separated")] = None,
    noise: Annotated[str, typer.Option("--noise", help="of the attacked map: fresh or same")] = "fresh",
    keep_label: Annotated[bool, typer.Option("--keep-label", help="the attack keeps the class")] = False,
    attack_draws: Annotated[int, typer.Option("--attack-draws", help="samples a step")] = 1024,
    attack_steps: Annotated[int, typer.Option("--attack-steps", help="steps of a descent")] = 5,
    seed: Annotated[int, typer.Option("--seed", help="of network, points and samples")] = 0,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Certify and attack sparsified SmoothGrad.

    Levine et al., 2019: probabilistic, never a proof.

    Example: salver bench smoothgrad --network digits-64x64 --sigmas 0.1,0.2 --taus 0.1,0.2
    """
    asked = {
        "network": network, "points": points, "draws": q, "confidence": p, "k_share": k_share, "rho": rho,
        "sigmas": listed(sigmas, "--sigmas"), "taus": listed(taus, "--taus"), "noise": noise,
        "keep_label": keep_label, "attack_draws": attack_draws, "attack_steps": attack_steps, "seed": seed,
    }  # fmt: skip
    _measure("smoothgrad", "SmoothGradOptions", asked, as_json, data_dir)


@bench_app.command()
def ranking(
    datasets: Annotated[
        str | None, typer.Option("--datasets", help="adult, compas, mnist, breast_cancer; default: all")
    ] = None,
    points: Annotated[int, typer.Option("--points", help="test points a network")] = 200,
    samples: Annotated[int, typer.Option("--samples", help="points of a thickness")] = 200,
    steps: Annotated[int, typer.Option("--steps", help="steps of an attack")] = 100,
    step: Annotated[float, typer.Option("--step", help="l2 length of a step")] = 5e-3,
    solver: Solver = "hybrid",
    seed: Annotated[int, typer.Option("--seed", help="of networks, points and samples")] = 0,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Compare trainings by R2ET's measures and what is verified.

    R2ET's measures are P@k under attack and thickness.

    Example: salver bench ranking --datasets breast_cancer --points 50
    """
    asked = {
        "datasets": listed(datasets, "--datasets"), "points": points, "samples": samples, "steps": steps,
        "step": step, "solver": solver, "seed": seed,
    }  # fmt: skip
    _measure("ranking", "RankingOptions", asked, as_json, data_dir)


@bench_app.command()
def cam(
    network: Annotated[
        Path | None, typer.Option("--network", help="a Keras HDF5 file; default: CORGI's in the data folder")
    ] = None,
    dataset: Annotated[str, typer.Option("--dataset", help="data set of its images")] = "gtsrb48-equalized",
    classes: Annotated[str, typer.Option("--classes", help="comma-separated")] = "12,17",
    images: Annotated[int, typer.Option("--images", help="most images of a class")] = 100,
    k: Annotated[int, typer.Option("--k", help="size of the top set")] = 15,
    most: Annotated[float, typer.Option("--most", help="upper end of the bisection")] = 0.005,
    steps: Annotated[int, typer.Option("--steps", help="halvings of the bisection")] = 15,
    slope_steps: Annotated[int, typer.Option("--slope-steps", help="ascent on slopes of open pairs")] = 0,
    workers: Annotated[int, typer.Option("--workers", "-j", help="processes of one core")] = 1,
    seed: Annotated[int, typer.Option("--seed", help="of the attack's starts")] = 0,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Certify and attack class activation maps.

    The radii stand beside the published ones of CORGI (Gu et al., 2020).

    Example: salver bench cam --classes 17 --images 12 -j 2
    """
    asked = {
        "network": network, "dataset": dataset, "classes": listed(classes, "--classes"), "images": images,
        "k": k, "most": most, "steps": steps, "slope_steps": slope_steps, "workers": workers, "seed": seed,
    }  # fmt: skip
    _measure("cam", "CamOptions", asked, as_json, data_dir)


@bench_app.command()
def overhead(
    runs: Annotated[int, typer.Option("--runs", help="of each command in each way")] = 50,
    seed: Annotated[int, typer.Option("--seed", help="of the order")] = 0,
    as_json: AsJson = False,
) -> None:
    """Measure what keeping the limits costs per run.

    Control groups, polling and BenchExec's runexec, interleaved.

    Example: salver bench overhead --runs 100
    """
    _measure("overhead", "OverheadOptions", {"runs": runs, "seed": seed}, as_json)


@bench_app.command()
def kernels(
    most: Annotated[float, typer.Option("--most", help="CPU seconds of a pass that end a series")] = 20.0,
    seed: Annotated[int, typer.Option("--seed", help="of the weights")] = 0,
    as_json: AsJson = False,
) -> None:
    """Measure the bounding kernels against the core's peak, and how their time grows.

    Example: salver bench kernels --most 5
    """
    _measure("kernels", "KernelOptions", {"most": most, "seed": seed}, as_json)


@bench_app.command()
def peers(
    solvers: Annotated[
        str | None,
        typer.Option(
            "--solvers",
            help="comma-separated; default: hybrid and the peers that can run here",
            autocompletion=completing.solvers,
        ),
    ] = None,
    timeout: Timeout = None,
    workers: Slots = CORES,
    resume: Annotated[bool, typer.Option("--resume", help="go on with the latest run")] = False,
    as_json: AsJson = False,
) -> None:
    """Try verifiers of others on every family and kind of network.

    One small query each; what a tool does not take stands in the table with its reason.

    Example: salver bench peers --solvers hybrid,neuralsat --timeout 20
    """
    names = listed(solvers, "--solvers")
    asked = {"solvers": names, "timeout": timeout, "workers": workers, "resume": resume}
    _measure("peers", "RunOptions", asked, as_json)
