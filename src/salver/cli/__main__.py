"""The command `salver`: one verb a stage, and `all` for the whole way."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from salver.cli import completing
from salver.cli.bench import bench_commands
from salver.cli.calling import call
from salver.cli.for_programs import AsJson, kept_for_json, print_json
from salver.cli.gallery import gallery
from salver.cli.listing import listing_app, print_version
from salver.cli.publish import publish, verify_set
from salver.cli.runners import check_runner, new_runner
from salver.cli.solvers import solvers_app
from salver.cli.values import DataDir, listed
from salver.core.errors import FoundError, SalverError, counted

app = typer.Typer(
    name="salver",
    help="Benchmarks for the robustness of neural networks' explanations.\n\nExample: salver all quick",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(bench_commands(), name="bench")
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
    str | None,
    typer.Option(
        "--device", help="cpu or cuda (default: cpu)", autocompletion=completing.one_of("cpu", "cuda")
    ),
]
Cores = Annotated[int | None, typer.Option("--cores", help="cores a run (default: as the solver asks)")]
Repetitions = Annotated[
    int | None, typer.Option("--repetitions", min=1, help="runs of every job (default: 1)")
]
Resume = Annotated[
    bool, typer.Option("--resume", help="go on with the suite's latest run, as it was planned")
]
Proofs = Annotated[bool, typer.Option("--proofs", help="ask for a proof of every unsat, and check it")]
Pin = Annotated[bool, typer.Option("--pin", help="a physical core for every worker")]
WarmUp = Annotated[bool, typer.Option("--warm-up", help="first one unrecorded run of every solver")]
Backend = Annotated[
    str | None,
    typer.Option(
        "--backend",
        help="limits and measures: salver (default) or runexec",
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
    device: Device = None,
    workers: Workers = CORES,
    cores: Cores = None,
    repetitions: Repetitions = None,
    resume: Resume = False,
    proofs: Proofs = False,
    pin: Pin = False,
    warm_up: WarmUp = False,
    backend: Backend = None,
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
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="another folder, which is not there yet")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a suite's instance set below instances/. One that is up to date stays as it is.

    Example: salver generate digits
    """
    from salver.cli.progress import counting
    from salver.core.files import refuse_missing_parent
    from salver.core.project import project_root
    from salver.families.generate import generate as generate_set
    from salver.families.generate import up_to_date
    from salver.families.instance_set import set_folder
    from salver.families.provenance import read_made
    from salver.families.suite import read_suite

    chosen, root = read_suite(suite), project_root()
    if output is not None:
        refuse_missing_parent(output)
        if os.path.lexists(output):
            raise SalverError("exists already", str(output), "choose another folder")
    manifest = None if force or output else up_to_date(chosen, root, data_dir)
    folder, is_new = output or set_folder(root, chosen), manifest is None
    if manifest is None:
        with counting(f"generating {chosen.key}") as progress:
            folder, manifest = generate_set(chosen, root, data_dir, workers, progress, folder)
    made = read_made(folder)
    if as_json:
        print_json(
            {
                "suite": chosen.key, "folder": str(folder), "instances": len(manifest.instances),
                "generated": is_new, "date": made and made.date, "notes": made.notes if made else (),
            }
        )  # fmt: skip
        return
    state = "generated" if is_new or made is None else f"up to date, made {made.date}"
    print(
        f"{chosen.key}: {counted(len(manifest.instances), 'instance')} in {os.path.relpath(folder)}: {state}"
    )
    for note in made.notes if made else ():
        print(f"note: {note}")


@app.command()
def run(
    suite: SuiteKey,
    solvers: Solvers = None,
    timeout: Timeout = None,
    device: Device = None,
    workers: Workers = CORES,
    cores: Cores = None,
    repetitions: Repetitions = None,
    resume: Resume = False,
    proofs: Proofs = False,
    pin: Pin = False,
    warm_up: WarmUp = False,
    backend: Backend = None,
    data_dir: DataDir = None,
    engine: EngineName = "local",
    scheduler: Scheduler = None,
    pools: Pools = None,
    as_json: AsJson = False,
) -> None:
    """Put solvers on a suite. The instance set is generated first where it is missing.

    Example: salver run bandit --solvers falsify,milp -j 2 --resume
    """
    from salver.cli.progress import finishing
    from salver.core.project import project_root
    from salver.core.records import parse_options
    from salver.families.generate import up_to_date
    from salver.families.instance_set import read_manifest, set_folder
    from salver.families.suite import read_suite
    from salver.run.engines import check_engine
    from salver.run.run_suite import RunOptions, choose_runners, limits_for, resumable, run_suite

    chosen, root = read_suite(suite), project_root()
    names = listed(solvers, "--solvers")
    raw: dict[str, object] = {"solvers": names, "timeout": timeout, "device": device}
    raw |= {
        "workers": workers,
        "cores": cores,
        "repetitions": repetitions,
        "resume": resume,
        "proofs": proofs or None,
    }
    how: dict[str, object] = {"name": engine, "scheduler": scheduler, "pools": pools}
    how |= {"pin": pin or None, "warm_up": warm_up, "backend": backend}
    # What is not given is left out: a resume takes it from the run.
    raw, how = ({key: value for key, value in given.items() if value is not None} for given in (raw, how))
    options = parse_options(RunOptions, {**raw, "engine": how})
    check_engine(options.engine, options.device, workers)
    limits_for(options, chosen)
    choose_runners(options)
    folder = set_folder(root, chosen)
    if resume and up_to_date(chosen, root) is None:
        # A resume that is refused leaves the set as it is.
        resumable(root, chosen, None)
    with kept_for_json(as_json):
        generate(suite, workers, data_dir)
        with finishing() as (on_plan, on_finish):
            run_dir, summary = run_suite(
                chosen, read_manifest(folder), folder, root, options, on_plan, on_finish
            )
        counts = f"{counted(summary.finished, 'job')} run, {summary.skipped} done before, {summary.left} left"
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
    from salver.core.project import project_root
    from salver.judge.scoring import find_profile
    from salver.report.as_json import report_json
    from salver.report.judging import report_run
    from salver.report.proofs import proofs_frame, proofs_sentence
    from salver.report.tables import terminal_table
    from salver.run.run_suite import changed_sources, find_run

    find_profile(profile)
    root = project_root()
    folder = find_run(root, name)
    found, page = report_run(folder, root, profile)
    if as_json:
        print(report_json(found, page))
        return
    for line in found.notices:
        print(f"{line}\n")
    print(terminal_table(found.by_suite))
    for line in found.wrong:
        print(f"wrong: {line}")
    for line in found.doubts:
        print(f"doubt about the instance: {line}")
    for item in found.found:
        print(f"disagreement: {item.instance}: {item.detail}")
    if told := proofs_sentence(found.judged, proofs_frame(found.judged, found.proofs)):
        print(told)
    for path in changed_sources(folder, root):
        print(f"note: {os.path.relpath(path)} is another file than when these instances were made from it")
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
    from salver.core.project import project_root
    from salver.judge.compare import compare as compare_frames
    from salver.judge.compare import differences_between
    from salver.judge.scoring import results_frame
    from salver.report.compared import compared_json, compared_table
    from salver.report.judging import judge_all
    from salver.run.run_suite import find_run

    root = project_root()
    folders = [find_run(root, name) for name in (first, second)]
    runs = [judge_all(folder, root) for folder in folders]
    compared = compare_frames(*(results_frame(found.runs) for found in runs))
    differing = differences_between(*(found.run.machine for found in runs))
    sides = [found.side(folder.name) for found, folder in zip(runs, folders, strict=True)]
    if as_json:
        print(compared_json(compared, differing, sides))
        return
    print(compared_table(compared, sides))
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
    from salver.publish.validate import validate as validate_set
    from salver.publish.validate import validated_json

    manifest, complaints = validate_set(folder)
    if as_json:
        print(validated_json(folder, manifest, complaints))
    else:
        for complaint in complaints:
            print(f"{complaint.file}: {complaint.what}")
    if complaints:
        raise FoundError(counted(len(complaints), "complaint"), str(folder), "generate the set again")
    if not as_json:
        print(f"{folder}: {counted(len(manifest.instances), 'instance')} valid")


@app.command()
def unroll(
    network: Annotated[Path, typer.Argument(help="ONNX (.onnx, .onnx.gz) or Keras HDF5 classifier")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="gradient network to write; .onnx.gz is compressed")
    ],
    label: Annotated[int, typer.Option("--label", help="class whose logit is explained")],
    other: Annotated[int | None, typer.Option("--minus", help="class whose logit is subtracted")] = None,
    absolute: Annotated[bool, typer.Option("--abs", help="absolute values of the gradient")] = False,
    force: Annotated[bool, typer.Option("--force", help="replace the output file if it is there")] = False,
) -> None:
    """Unroll a network and its gradient into one ONNX file. Its output is Y = [logits, saliency].

    Example: salver unroll net.onnx -o grad.onnx --label 3
    """
    import numpy as np

    from salver.core.files import refuse_output, write_atomically
    from salver.explain.reference import by_autograd, probes, refuse_misread, refuse_wrong_graph
    from salver.explain.unroll import logit_combination
    from salver.explain.unroll import unroll as unroll_network
    from salver.nets.keras.file import read_keras
    from salver.nets.network import single
    from salver.nets.onnx.file import load_model, refuse_other_name, to_stored
    from salver.nets.onnx.reader import read_onnx
    from salver.nets.onnx.writer import to_bytes, to_model

    refuse_other_name(output)
    refuse_output(output, force=force, inputs=[network], option="--force")
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
    content = to_stored(output, written)
    refuse_output(output, force=force, inputs=[network], option="--force")
    write_atomically(output, content)
    print(
        f"{output}: X [1,{graph.input_size}] -> Y [1,{graph.output_size}] = logits, gradient of {explained}"
    )


app.add_typer(listing_app)


def main() -> None:
    """Entry point; the status and the one line on stderr are `commands.calling`'s."""
    sys.exit(call(app))


if __name__ == "__main__":
    main()
