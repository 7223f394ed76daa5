"""The command `salver bench`."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_origin

import typer

from salver.cli import completing
from salver.cli.entries import SAID, LateCommand, late_option
from salver.cli.help_text import Commands
from salver.cli.json_output import kept_for_json, print_json, tables_of
from salver.cli.options import CORES, AsJson, DataDir, listed

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

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
    given = {key: value for key, value in asked.items() if value is not None}
    options = parse_options(getattr(module, record), given, {})
    with kept_for_json(as_json):
        folder = getattr(module, f"bench_{name}")(project_root(), options, *others)
    if as_json:
        print_json(tables_of(folder) if folder else {"report": None, "tables": {}})


def with_entries(record: str) -> type[LateCommand]:
    """A command with an option for every entry of a record of `experiments.options`."""

    class RecordCommand(LateCommand):
        def late_options(self) -> list[inspect.Parameter]:
            entries = getattr(importlib.import_module("experiments.options"), record).model_fields
            return [_option(name, entry) for name, entry in entries.items()]

        def invoke(self, ctx: Any) -> Any:
            entries = getattr(importlib.import_module("experiments.options"), record).model_fields
            for name, entry in entries.items():
                if isinstance(entry.default, tuple):
                    ctx.params[name] = listed(ctx.params[name], f"--{name}")
            return super().invoke(ctx)

    return RecordCommand


def _option(name: str, entry: FieldInfo) -> inspect.Parameter:
    """An option for an entry; a list is said with commas."""
    default, kind = entry.default, entry.annotation
    if isinstance(default, tuple):
        default, kind = ",".join(map(str, default)), str
    elif get_origin(kind) is Literal:
        kind = str
    names = [f"--{name.replace('_', '-')}", *(["-j"] if name == "workers" else [])]
    completes = completing.solver if name == "solver" else None
    about = typer.Option(*names, help=entry.description, autocompletion=completes)
    return late_option(name, Annotated[kind, about], default)


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


@bench_app.command(cls=with_entries("SmoothGradOptions"))
def smoothgrad(context: typer.Context, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Certify and attack sparsified SmoothGrad.

    Levine et al., 2019: probabilistic, never a proof.

    Example: salver bench smoothgrad --network digits-64x64 --sigmas 0.1,0.2 --taus 0.1,0.2
    """
    _measure("smoothgrad", "SmoothGradOptions", context.meta[SAID], as_json, data_dir)


@bench_app.command(cls=with_entries("RankingOptions"))
def ranking(context: typer.Context, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Compare trainings by R2ET's measures and what is verified.

    R2ET's measures are P@k under attack and thickness.

    Example: salver bench ranking --datasets breast_cancer --points 50
    """
    _measure("ranking", "RankingOptions", context.meta[SAID], as_json, data_dir)


@bench_app.command(cls=with_entries("CamOptions"))
def cam(context: typer.Context, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Certify and attack class activation maps.

    The radii stand beside the published ones of CORGI (Gu et al., 2020).

    Example: salver bench cam --classes 17 --images 12 -j 2
    """
    _measure("cam", "CamOptions", context.meta[SAID], as_json, data_dir)


@bench_app.command(cls=with_entries("OverheadOptions"))
def overhead(context: typer.Context, as_json: AsJson = False) -> None:
    """Measure what keeping the limits costs per run.

    Control groups, polling and BenchExec's runexec, interleaved.

    Example: salver bench overhead --runs 100
    """
    _measure("overhead", "OverheadOptions", context.meta[SAID], as_json)


@bench_app.command(cls=with_entries("KernelOptions"))
def kernels(context: typer.Context, as_json: AsJson = False) -> None:
    """Measure the bounding kernels against the core's peak, and how their time grows.

    Example: salver bench kernels --most 5
    """
    _measure("kernels", "KernelOptions", context.meta[SAID], as_json)


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
