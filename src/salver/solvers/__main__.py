"""`salver-solve`: the embedded solvers as stand-alone commands on the VNN-LIB standard command line.

    salver-solve milp verify q.vnnlib --network N=m.onnx --timeout 60

prints `sat|unsat|unknown|timed-out` first, then the assignment; everything else goes to stderr, there
`reading: S s` and `solving: S s`, the wall seconds spent on the two files and in the solver. The limit
counts from the start of the process, and an answer that comes after it is none: `timed-out`.

With `--proof FILE` an `unsat` is followed by a search for its proof in the time that is left; the verdict
stands without one. `salver-solve check-proof ONNX VNNLIB FILE` checks it (`salver.proofs.command`).

Exit status 0 comes with a verdict; without one it is 1 after an unexpected error (`SALVER_DEBUG=1` shows
where), 2 after one that the user can put right, 128 + n after signal n (SIGTERM, SIGINT, SIGHUP). Out of
memory is `unknown`.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from salver import __version__
from salver.core.command_line import refuse_empty
from salver.core.errors import SalverError, counted, file_error
from salver.solvers.answer_text import written
from salver.solvers.arguments import CHECK_PROOF, SUPPORTS, build_parser, completion_script, parts_left_out
from salver.solvers.registry import DEVICES, SOLVERS, EmbeddedSolver, embedded_solver
from salver.solvers.watchdog import Outbox, is_out_of_memory, memory_held, process_start, watched

if TYPE_CHECKING:
    from salver.solvers.journal import Journal
    from salver.solvers.query import Budget, Options, Query, Result

PROOF_MARGIN_S = 0.4
MESSAGE_LENGTH = 300
STRICT = "strict comparisons: unsat is shown without them, and sat needs a point that satisfies them strictly"
NUMERIC_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def _supported(key: str) -> list[str]:
    if key != "onnx-operators":
        return SUPPORTS[key].split()
    from salver.nets.onnx.reader import OF_VARIABLES

    return sorted(OF_VARIABLES - {"Div"})  # a variable is divided by constants only


def main(argv: list[str] | None = None) -> int:
    """Entry point of the command; returns its exit status.

    Args:
        argv: None for this process's own arguments: the solver then runs in a process that is killed at the
            limit. Otherwise it runs right here, and keeps the limit as well as it can by itself.
    """
    started = process_start() if argv is None else time.monotonic()
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        refuse_empty(arguments)
        if arguments[:1] == [CHECK_PROOF]:
            from salver.proofs.command import main as check_proof

            return check_proof(arguments[1:])
        # Taken off first: argparse would not find the end of an optional word before a sub-command.
        named = arguments.pop(0) if arguments and not arguments[0].startswith("-") else None
        solver = None if named is None else embedded_solver(named)
        options = build_parser().parse_args(arguments)
        if solver is None or options.action != "verify":
            print(_asked_about(solver, options))
            return 0
        _check(solver, options)
    except SalverError as error:
        print(f"salver-solve: {error}", file=sys.stderr)
        return 2
    if argv is not None:
        return _verify(solver, options, started, Outbox())
    _set_numeric_threads(forks=solver.forks and options.threads > 1)
    if not sys.platform.startswith("linux"):
        return _verify(solver, options, started, Outbox())
    return watched(partial(_verify, solver, options, started), started + options.timeout)


def _asked_about(solver: EmbeddedSolver | None, options: argparse.Namespace) -> str:
    """What is printed where no query is to be decided.

    Raises:
        SalverError: `supports` without a question. A command line that asks nothing ends the process.
    """
    if options.completion:
        return completion_script(build_parser())
    if options.version:
        return __version__
    if solver is None:
        build_parser().error("give a solver and what it is to do")
    if options.name:
        return f"salver-{solver.name}"
    if options.action is None:
        build_parser().error(f"say what {solver.name} is to do: verify or supports")
    asked = [key for key in SUPPORTS if getattr(options, key.replace("-", "_"))]
    if not asked:
        raise SalverError("nothing is asked for", "supports", f"add --{' or --'.join(SUPPORTS)}")
    return "\n".join(word for key in asked for word in _supported(key))


def _check(solver: EmbeddedSolver, options: argparse.Namespace) -> None:
    """Refuses what the solver cannot do, before a file is read; names of parts become a set.

    Raises:
        SalverError: an option is out of range, or not for this solver.
    """
    if not options.timeout > 0:
        raise SalverError(f"timeout {options.timeout:g} is not positive", "--timeout", "give seconds above 0")
    if options.device not in DEVICES:
        raise SalverError(f"no device {options.device!r}", "--device", "choose cpu or cuda")
    if options.device not in solver.devices:
        raise SalverError(
            f"{solver.name} runs on {' and '.join(solver.devices)} only", "--device", "leave it out"
        )
    if options.threads < 1:
        raise SalverError(f"{options.threads} threads", "--threads", "give at least 1")
    if options.seed < 0:
        raise SalverError(f"seed {options.seed} is negative", "--seed", "give 0 or more")
    if options.backend and options.backend not in solver.backends:
        raise SalverError(*_no_back_end(solver, options.backend))
    if options.proof is not None and not solver.proves:
        provers = ", ".join(one.name for one in SOLVERS.values() if one.proves)
        raise SalverError(f"{solver.name} writes no proofs", "--proof", f"use {provers}")
    options.without = parts_left_out(solver, options.without)
    _refuse_outputs(options)


def _no_back_end(solver: EmbeddedSolver, asked: str) -> tuple[str, str, str]:
    """What is wrong with a back end, where, and what to do."""
    if not solver.backends:
        return f"{solver.name} has no choice of back ends", "--backend", "leave it out"
    return f"no back end {asked!r}", "--backend", f"choose {' or '.join(solver.backends)}"


def _set_numeric_threads(forks: bool) -> None:
    """One thread per process for linear algebra, before numpy reads it; the user's own number stands.

    Not in forked workers: two of them with two threads each on two cores were seen to take
    five times as long.
    """
    for name in NUMERIC_THREADS:
        if forks or not os.environ.get(name):
            os.environ[name] = "1"


def _verify(solver: EmbeddedSolver, options: argparse.Namespace, started: float, outbox: Outbox) -> int:
    """Decides the query and reports one answer, or says in one line on stderr why there is none."""
    try:
        result, query = _decide(solver, options, started, outbox)
        text = written(result, query, options.serialise_assignments)
        if result.reason:
            print(result.reason, file=sys.stderr)
        outbox.answer(text)
    except Exception as error:
        if os.environ.get("SALVER_DEBUG") == "1":
            import traceback

            traceback.print_exc()
        return _explain(error, outbox)
    return 0


def _explain(error: Exception, outbox: Outbox) -> int:
    message = " ".join(f"{type(error).__name__}: {error}".split())[:MESSAGE_LENGTH]
    if is_out_of_memory(error):
        print(f"out of memory ({message}): {memory_held()}", file=sys.stderr)
        outbox.answer("unknown")
        return 0
    if isinstance(error, OSError) and error.filename is not None:
        error = file_error(error, error.filename, "used")
    if isinstance(error, SalverError):
        print(f"salver-solve: {error}", file=sys.stderr)
        return 2
    print(f"salver-solve: {message}", file=sys.stderr)
    return 1


def _decide(
    solver: EmbeddedSolver, options: argparse.Namespace, started: float, outbox: Outbox
) -> tuple[Result, Query | None]:
    from salver.solvers.quick_start import quick_imports

    with quick_imports():
        solver.load()
    if "torch" in solver.needs or options.device == "cuda":
        # On the way to every answer it is imported in any case; a second of importing is not solving.
        import torch

        if options.device == "cuda" and not torch.cuda.is_available():
            raise SalverError("torch finds no CUDA device", "--device cuda", "use --device cpu")
    from salver.nets.affine import UnsupportedQueryError
    from salver.solvers.lifted import NoSolutionError, read_queries
    from salver.solvers.query import Budget, Options, Result, Verdict

    budget = Budget(options.timeout, started)
    query, phase, since = None, "reading", time.monotonic()
    try:
        query = read_queries(_files(options.network), _plain_or_compressed(options.query))
        print(f"reading: {time.monotonic() - since:.3f} s", file=sys.stderr, flush=True)
        if query.lifted is not None and query.lifted.strict:
            print(STRICT, file=sys.stderr)
        phase, since = "solving", time.monotonic()
        outbox.solving()
        chosen = Options(
            options.threads,
            options.device,
            options.seed,
            options.backend,
            options.without,
            record=options.proof is not None,
        )
        result = solved(solver, query, budget, chosen)
        if result.verdict is Verdict.UNKNOWN and query.lifted is not None and query.lifted.strict:
            result = _off_the_edge(solver, options, budget, chosen)
        if options.proof is not None and result.verdict is Verdict.UNSAT and not budget.over:
            outbox.certain(result.verdict.value)
            _prove(query, budget, options.proof, options.query, result.journal)
    except UnsupportedQueryError as error:
        result = Result(Verdict.UNKNOWN, reason=f"not supported: {error}")
    except NoSolutionError as error:
        result = Result(Verdict.UNSAT if solver.complete else Verdict.UNKNOWN, reason=str(error))
    finally:
        if phase == "solving":
            print(f"solving: {time.monotonic() - since:.3f} s", file=sys.stderr, flush=True)
    if budget.over and result.verdict is not Verdict.TIMED_OUT:
        result = Result(
            Verdict.TIMED_OUT, reason=f"{result.verdict} came {-budget.left:.3f} s after the limit"
        )
    return result, query


def solved(solver: EmbeddedSolver, query: Query, budget: Budget, options: Options) -> Result:
    """The solver's result for the whole query.

    A product of variables is beyond all of them: boxes decide it for few inputs. Of a box without bounds they
    are given a part, in which nothing is proven about the rest.

    Raises:
        UnsupportedQueryError: neither the solver nor boxes can decide it.
    """
    from salver.nets.affine import UnsupportedQueryError
    from salver.solvers.boxes import decides, search
    from salver.solvers.lifted import SPAN, cut_matters
    from salver.solvers.query import Result, Verdict

    if not all(query.prop.clauses):
        verdict = Verdict.UNSAT if solver.complete else Verdict.UNKNOWN
        return Result(verdict, reason="a box or a choice of the query is empty")
    try:
        result = solver.load()(query, budget, options)
    except UnsupportedQueryError:
        if solver.families or not decides(query):
            raise
        result = search(query, budget, options.seed)
        if not solver.complete and result.verdict is Verdict.UNSAT:
            return Result(Verdict.UNKNOWN, reason=f"{solver.name} proves nothing")
    if result.verdict is not Verdict.UNSAT or not cut_matters(query):
        return result
    return Result(Verdict.UNKNOWN, reason=f"some input has no bound; none of its values up to {SPAN:g} helps")


def _off_the_edge(
    solver: EmbeddedSolver, options: argparse.Namespace, budget: Budget, chosen: Options
) -> Result:
    """A solution of a query with strict comparisons that keeps a distance from them, where there is one."""
    from salver.solvers.lifted import NoSolutionError, read_lifted
    from salver.solvers.query import Result, Verdict

    reason = "solutions found only where a strict comparison is an equality"
    try:
        query = read_lifted(_files(options.network), _plain_or_compressed(options.query), margin=True)
        result = solved(solver, query, budget, chosen)
    except NoSolutionError:
        return Result(Verdict.UNKNOWN, reason=reason)
    return Result(Verdict.UNKNOWN, reason=reason) if result.verdict is Verdict.UNSAT else result


def _files(named: list[str]) -> dict[str, Path]:
    """Files by the names of their networks, also of VNN-COMP's list of them in one word.

    The only network may go without a name, as `=FILE` where the file's name has a `=`.

    Raises:
        SalverError: two of one name, an empty part, a list that is none.
    """
    from salver.spec.instances_csv import network_files

    files: dict[str, Path] = {}
    for word in named:
        name, equals, path = word.partition("=")
        if word.startswith("["):
            pairs = network_files(word, "--network")
        elif equals and not path:
            raise SalverError(f"{word!r} has an empty part", "--network", "write NAME=FILE")
        else:
            pairs = ((name, path or name),)
        for network, file in pairs:
            if network in files:
                raise SalverError(f"network {network!r} has two files", "--network", "name each network once")
            files[network] = _plain_or_compressed(Path(file))
    return files


def _refuse_outputs(options: argparse.Namespace) -> None:
    """Refuses, before anything is solved, to write over what is there or into folders that are not.

    Raises:
        SalverError: a file or folder named for output cannot be had.
    """
    from salver.core.files import refuse_missing_parent, refuse_output

    if options.proof is not None:
        inputs = [options.query, *_files(options.network).values()]
        refuse_output(options.proof, force=options.force, inputs=inputs, option="--force")
    folder = options.serialise_assignments
    if folder is not None:
        refuse_missing_parent(folder)
        if folder.exists() and not folder.is_dir():
            raise SalverError("is no folder", str(folder), "name a folder with --serialise-assignments")
        if folder.exists() and any(folder.iterdir()) and not options.force:
            raise SalverError("is not empty", str(folder), "choose another folder, or add --force")


def _prove(query: Query, budget: Budget, path: Path, vnnlib: Path, journal: Journal | None) -> None:
    """Writes a proof of `unsat`, or says on stderr why there is none."""
    from salver.nets.affine import UnsupportedQueryError
    from salver.proofs.onnx_file import UnsupportedNetworkError
    from salver.proofs.record import QueryFiles, write_proof
    from salver.proofs.vnnlib_file import UnsupportedPropertyError
    from salver.solvers.proving.search import prove
    from salver.solvers.query import Budget

    if query.lifted is not None:
        print("no proof: proofs are of plain queries over one network", file=sys.stderr)
        return
    since, files = time.monotonic(), QueryFiles.read(query.onnx, vnnlib)
    try:
        steps = prove(query, Budget(budget.left - PROOF_MARGIN_S), files, journal)
    except (UnsupportedNetworkError, UnsupportedPropertyError, UnsupportedQueryError) as error:
        print(f"no proof: {error}", file=sys.stderr)
        return
    print(f"proving: {time.monotonic() - since:.3f} s", file=sys.stderr, flush=True)
    if steps is None:
        print("no proof: none was found in time", file=sys.stderr)
        return
    write_proof(path, files, steps)
    print(f"proof: {counted(len(steps), 'step')}, {path.stat().st_size} bytes", file=sys.stderr)


def _plain_or_compressed(path: Path) -> Path:
    compressed = Path(f"{path}.gz")
    return compressed if not path.exists() and compressed.exists() else path


if __name__ == "__main__":
    sys.exit(main())
