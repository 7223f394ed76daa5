"""The command `salver`: one verb a stage, and `all` for the whole way."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from salver.bench.cli import bench_app
from salver.commands import completing
from salver.commands.calling import call
from salver.commands.for_programs import AsJson, kept_for_json, print_json
from salver.commands.gallery import gallery
from salver.commands.listing import DataDir, listing_app, print_version
from salver.commands.publish import publish, verify_set
from salver.commands.runners import check_runner, new_runner
from salver.commands.solvers import solvers_app
from salver.commands.values import listed
from salver.errors import FoundError, SalverError

app = typer.Typer(
    name="salver",
    help="Benchmarks for the robustness of neural networks' explanations.\n\nExample: salver all quick",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(bench_app, name="bench")
app.add_typer(solvers_app, name="solvers")


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="print the version", is_eager=True, callback=print_version)
    ] = False,
) -> None: ...


SuiteKey = Annotated[
    str,
    typer.Argument(help="key of a suite in benchmarks/, or a .toml file", autocompletion=completing.suites),
]
Workers = Annotated[int, typer.Option("--workers", "-j", help="jobs side by side")]
RunName = Annotated[
    str, typer.Argument(help="a run's folder or name, or `latest`", autocompletion=completing.runs)
]
Solvers = Annotated[
    str | None,
    typer.Option(
        "--solvers", help="comma-separated; default: all available", autocompletion=completing.solvers
    ),
]
Timeout = Annotated[float | None, typer.Option("--timeout", help="wall seconds a run (default: suite's)")]
Device = Annotated[
    str, typer.Option("--device", help="cpu or cuda", autocompletion=completing.one_of("cpu", "cuda"))
]
Cores = Annotated[int | None, typer.Option("--cores", help="cores a run (default: as the solver asks)")]
Repetitions = Annotated[int, typer.Option("--repetitions", min=1, help="runs of every job")]
Resume = Annotated[bool, typer.Option("--resume", help="go on with the suite's latest run")]
Proofs = Annotated[bool, typer.Option("--proofs", help="ask for a proof of every unsat, and check it")]
Pin = Annotated[bool, typer.Option("--pin", help="a physical core for every worker")]
WarmUp = Annotated[bool, typer.Option("--warm-up", help="first one unrecorded run of every solver")]
Backend = Annotated[
    str,
    typer.Option(
        "--backend",
        help="limits and measures: salver or runexec",
        autocompletion=completing.one_of("salver", "runexec"),
    ),
]
EngineName = Annotated[
    str,
    typer.Option(
        "--engine", help="local, dask or slurm", autocompletion=completing.one_of("local", "dask", "slurm")
    ),
]
Scheduler = Annotated[str | None, typer.Option("--scheduler", help="Dask scheduler to join: tcp://host:port")]
Pools = Annotated[Path | None, typer.Option("--pools", help="TOML file about pools of Slurm pilots")]
Profile = Annotated[
    str,
    typer.Option("--profile", help="scoring: vnncomp2026, par2 or count", autocompletion=completing.profiles),
]
CORES = len(os.sched_getaffinity(0))


@app.command("all")
def run_all(
    suite: SuiteKey = "quick",
    solvers: Solvers = None,
    timeout: Timeout = None,
    device: Device = "cpu",
    workers: Workers = CORES,
    cores: Cores = None,
    repetitions: Repetitions = 1,
    resume: Resume = False,
    proofs: Proofs = False,
    pin: Pin = False,
    warm_up: WarmUp = False,
    backend: Backend = "salver",
    profile: Profile = "vnncomp2026",
    data_dir: DataDir = None,
    engine: EngineName = "local",
    scheduler: Scheduler = None,
    pools: Pools = None,
    as_json: AsJson = False,
) -> None:
    """Generate a suite, run every solver, print the leaderboard.

    With --json the value is that of `report`.

    Example: salver all quick --solvers milp,hybrid --timeout 20
    """
    with kept_for_json(as_json):
        run(
            suite, solvers, timeout, device, workers, cores, repetitions, resume, proofs, pin, warm_up,
            backend, data_dir, engine, scheduler, pools,
        )  # fmt: skip
    report("latest", profile, as_json)


@app.command()
def generate(
    suite: SuiteKey,
    workers: Workers = CORES,
    data_dir: DataDir = None,
    force: Annotated[bool, typer.Option("--force", help="even when the set is up to date")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a suite's instance set below instances/.

    Example: salver generate digits
    """
    from salver.generate import generate as generate_set
    from salver.generate import up_to_date
    from salver.instance_set import set_folder
    from salver.progress import counting
    from salver.project import project_root
    from salver.suite import read_suite

    chosen, root = read_suite(suite), project_root()
    manifest = None if force else up_to_date(chosen, root)
    folder = set_folder(root, chosen)
    if manifest is None:
        with counting(f"generating {chosen.key}") as progress:
            folder, manifest = generate_set(chosen, root, data_dir, workers, progress)
    if as_json:
        print_json({"suite": chosen.key, "folder": str(folder), "instances": len(manifest.instances)})
        return
    print(f"{chosen.key}: {len(manifest.instances)} instances in {os.path.relpath(folder)}")


@app.command()
def run(
    suite: SuiteKey,
    solvers: Solvers = None,
    timeout: Timeout = None,
    device: Device = "cpu",
    workers: Workers = CORES,
    cores: Cores = None,
    repetitions: Repetitions = 1,
    resume: Resume = False,
    proofs: Proofs = False,
    pin: Pin = False,
    warm_up: WarmUp = False,
    backend: Backend = "salver",
    data_dir: DataDir = None,
    engine: EngineName = "local",
    scheduler: Scheduler = None,
    pools: Pools = None,
    as_json: AsJson = False,
) -> None:
    """Put solvers on a suite. The instance set is generated first where it is missing.

    Example: salver run bandit --solvers falsify,milp -j 2 --resume
    """
    from salver.execute.engines import check_engine
    from salver.instance_set import read_manifest, set_folder
    from salver.progress import finishing
    from salver.project import project_root
    from salver.records import parse_options
    from salver.run import RunOptions, choose_runners, limits_for, run_suite
    from salver.suite import read_suite

    chosen, root = read_suite(suite), project_root()
    names = listed(solvers, "--solvers")
    raw: dict[str, object] = {"solvers": names, "timeout": timeout, "device": device}
    raw |= {
        "workers": workers,
        "cores": cores,
        "repetitions": repetitions,
        "resume": resume,
        "proofs": proofs,
    }
    how: dict[str, object] = {"name": engine, "scheduler": scheduler, "pools": pools}
    how |= {"pin": pin, "warm_up": warm_up, "backend": backend}
    options = parse_options(RunOptions, {**raw, "engine": how})
    check_engine(options.engine, device, workers)
    limits_for(options, chosen)
    choose_runners(options)
    folder = set_folder(root, chosen)
    with kept_for_json(as_json):
        generate(suite, workers, data_dir)
        with finishing() as (on_plan, on_finish):
            run_dir, summary = run_suite(
                chosen, read_manifest(folder), folder, root, options, on_plan, on_finish
            )
        counts = f"{summary.finished} jobs run, {summary.skipped} done before, {summary.left} left"
        print(f"{chosen.key}: {counts}; stored in {os.path.relpath(run_dir)}")
    if as_json:
        told = {"finished": summary.finished, "skipped": summary.skipped, "left": summary.left}
        print_json({"suite": chosen.key, "folder": str(run_dir), **told})
    if summary.left:
        raise SalverError("stopped before all jobs were run", chosen.key, "go on with --resume")


@app.command()
def report(
    name: RunName = "latest",
    profile: Profile = "vnncomp2026",
    as_json: AsJson = False,
) -> None:
    """Judge a stored run again and write its report. No solver is started.

    Example: salver report latest --profile par2
    """
    from salver.judge.proofs import stored_proofs
    from salver.judge.scoring import find_profile
    from salver.judging import report_run
    from salver.project import project_root
    from salver.report.as_json import report_json
    from salver.report.proofs import proofs_frame, proofs_sentence
    from salver.report.tables import terminal_table
    from salver.run import find_run

    find_profile(profile)
    root = project_root()
    folder = find_run(root, name)
    found, page = report_run(folder, root, profile)
    if as_json:
        print(report_json(found, page))
        return
    print(terminal_table(found.by_suite))
    for line in found.wrong:
        print(f"wrong: {line}")
    for line in found.doubts:
        print(f"doubt about the instance: {line}")
    for item in found.found:
        print(f"disagreement: {item.instance}: {item.detail}")
    if told := proofs_sentence(found.judged, proofs_frame(found.judged, stored_proofs(folder))):
        print(told)
    print(f"report: {os.path.relpath(page)}")


@app.command()
def compare(
    first: RunName,
    second: Annotated[
        str, typer.Argument(help="another run, of the same suite", autocompletion=completing.runs)
    ],
    as_json: AsJson = False,
) -> None:
    """Compare two runs pair by pair, with intervals. The second is held against the first.

    Example: salver compare scaling-20260101T120000 latest
    """
    from salver.judge.compare import compare as compare_frames
    from salver.judge.compare import differences_between
    from salver.judge.scoring import results_frame
    from salver.judging import judge_run
    from salver.project import project_root
    from salver.report.compared import compared_json, compared_table
    from salver.run import find_run

    root = project_root()
    runs = [judge_run(find_run(root, name), root) for name in (first, second)]
    compared = compare_frames(*(results_frame(judged) for _, _, judged in runs))
    differing = differences_between(*(run.machine for run, _, _ in runs))
    if as_json:
        print(compared_json(compared, differing))
        return
    print(compared_table(compared))
    for line in differing:
        print(f"not the same machine or packages: {line}")


app.command()(gallery)
app.command()(publish)
app.command()(verify_set)
app.command("new-runner")(new_runner)
app.command("test-runner")(check_runner)
app.command("rejudge", help="The same as `report`.\n\nExample: salver rejudge latest --profile par2")(report)


@app.command()
def validate(
    folder: Annotated[Path, typer.Argument(help="folder of an instance set")],
    as_json: AsJson = False,
) -> None:
    """Check an instance set with three readers. ONNX Runtime, our own and the vnnlib package read it again.

    Example: salver validate instances/quick/1-s0
    """
    from salver.validate import validate as validate_set
    from salver.validate import validated_json

    manifest, complaints = validate_set(folder)
    if as_json:
        print(validated_json(folder, manifest, complaints))
    else:
        for complaint in complaints:
            print(f"{complaint.file}: {complaint.what}")
    if complaints:
        raise FoundError(f"{len(complaints)} complaints", str(folder), "generate the set again")
    if not as_json:
        print(f"{folder}: {len(manifest.instances)} instances valid")


@app.command()
def unroll(
    network: Annotated[Path, typer.Argument(help="ONNX or Keras HDF5 classifier")],
    output: Annotated[Path, typer.Option("--output", "-o", help="gradient network to write")],
    label: Annotated[int, typer.Option("--label", help="class whose logit is explained")],
    other: Annotated[int | None, typer.Option("--minus", help="class whose logit is subtracted")] = None,
    absolute: Annotated[bool, typer.Option("--abs", help="absolute values of the gradient")] = False,
) -> None:
    """Unroll a network and its gradient into one ONNX file. Its output is Y = [logits, saliency].

    Example: salver unroll net.onnx -o grad.onnx --label 3
    """
    import numpy as np

    from salver.files import write_atomically
    from salver.nets.keras.file import read_keras
    from salver.nets.network import single
    from salver.nets.onnx.file import load_model
    from salver.nets.onnx.reader import read_onnx
    from salver.nets.onnx.writer import to_bytes, to_model
    from salver.reference import by_autograd, probes, refuse_misread, refuse_wrong_graph
    from salver.saliency.unroll import logit_combination
    from salver.saliency.unroll import unroll as unroll_network

    is_keras = network.suffix.lower() in {".h5", ".hdf5"}
    classifier = read_keras(network)[0] if is_keras else single(read_onnx(network), str(network))
    combination = logit_combination(classifier.output_size, label, other)
    graph = unroll_network(classifier, combination, "abs" if absolute else "raw")
    explained = f"z_{label}" + ("" if other is None else f" - z_{other}")
    metadata = {"salver.gradient_of": explained, "salver.logits": str(classifier.output_size)}
    written, points = to_bytes(to_model(graph, metadata)), probes(classifier)
    if not is_keras:
        refuse_misread(load_model(network), classifier, points, str(network))
    expected = by_autograd(classifier, combination, points.x)
    if absolute:
        expected[:, classifier.output_size :] = np.abs(expected[:, classifier.output_size :])
    refuse_wrong_graph(written, graph, expected, points, classifier.output_size)
    write_atomically(output, written)
    print(
        f"{output}: X [1,{graph.input_size}] -> Y [1,{graph.output_size}] = logits, gradient of {explained}"
    )


app.add_typer(listing_app)


def main() -> None:
    """Entry point; the status and the one line on stderr are `commands.calling`'s."""
    sys.exit(call(app))


if __name__ == "__main__":
    main()
