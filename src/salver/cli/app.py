"""The verbs of `salver`: one a stage, and `all` for the whole way."""

from __future__ import annotations

from typing import Annotated

import typer

from salver import __version__
from salver.cli.all import run_all
from salver.cli.bench import bench_commands
from salver.cli.check import check
from salver.cli.check_runner import check_runner
from salver.cli.compare import compare
from salver.cli.data import data_app
from salver.cli.doctor import doctor
from salver.cli.entries import MethodCommand, QuestionCommand
from salver.cli.export import export
from salver.cli.families import families
from salver.cli.gallery import gallery
from salver.cli.generate import generate
from salver.cli.help_text import Commands
from salver.cli.methods import methods
from salver.cli.metrics import metrics
from salver.cli.new_runner import new_runner
from salver.cli.publish import publish
from salver.cli.report import report
from salver.cli.run import run
from salver.cli.runs import runs
from salver.cli.solvers import solvers_app
from salver.cli.suites import suites
from salver.cli.unroll import unroll
from salver.cli.validate import validate
from salver.cli.verify_set import verify_set

app = Commands(
    name="salver",
    help="Benchmarks for the robustness of neural networks' explanations.\n\nExample: salver all quick",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
NETWORK, SETS, RUNS = "Your network and its map", "Suites and sets of instances", "Runs and results"
SOLVERS, HERE = "Solvers", "This installation"
app.command(cls=QuestionCommand, rich_help_panel=NETWORK)(check)
app.command(cls=MethodCommand, rich_help_panel=NETWORK)(metrics)
app.command(cls=MethodCommand, rich_help_panel=NETWORK)(unroll)
app.command(rich_help_panel=NETWORK)(methods)
app.command("all", rich_help_panel=RUNS)(run_all)
for command in (run, runs, report, compare, export, gallery):
    app.command(rich_help_panel=RUNS)(command)
for command in (suites, families, generate, validate, publish):
    app.command(rich_help_panel=SETS)(command)
app.command("verify-set", rich_help_panel=SETS)(verify_set)
app.add_typer(data_app, name="data", rich_help_panel=SETS)
app.add_typer(solvers_app, name="solvers", rich_help_panel=SOLVERS)
app.command("new-runner", rich_help_panel=SOLVERS)(new_runner)
app.command("test-runner", rich_help_panel=SOLVERS)(check_runner)
app.command(rich_help_panel=HERE)(doctor)
app.add_typer(bench_commands(), name="bench", rich_help_panel=HERE)


def _print_version(asked: bool) -> None:
    if asked:
        print(__version__)
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="print the version", is_eager=True, callback=_print_version)
    ] = False,
) -> None: ...
