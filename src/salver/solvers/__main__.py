"""`salver-solve`: the embedded solvers as stand-alone commands on the VNN-LIB standard command line.

    salver-solve milp verify q.vnnlib --network N=m.onnx --timeout 60

prints `sat|unsat|unknown|timed-out` first, then the assignment; everything else goes to stderr.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import sys
from pathlib import Path

import numpy as np

from salver import __version__
from salver.errors import SalverError
from salver.nets.program import UnsupportedQueryError
from salver.solvers.query import Budget, Options, Query, Result, Solver, Verdict, read_query

SOLVERS = {
    "falsify": "salver.solvers.falsify",
    "crown": "salver.solvers.crown",
    "marabou": "salver.solvers.marabou",
    "milp": "salver.solvers.milp",
    "hybrid-paper": "salver.solvers.hybrid_paper",
    "hybrid": "salver.solvers.hybrid",
}
SUPPORTS = {
    "onnx-operators": "Abs Add AveragePool Concat Conv ConvTranspose Flatten Gemm MatMul Mul ReduceMean Relu "
    "Reshape Sign Sub",
    "vnnlib-versions": "1.0 2.0",
    "onnx-versions": "13",
    "input-types": "real float32",
}


def load(name: str) -> Solver:
    """The `solve` function of an embedded solver; nothing else is imported.

    Raises:
        SalverError: no such solver.
    """
    if name not in SOLVERS:
        near = difflib.get_close_matches(name, SOLVERS, 1)
        mend = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(SOLVERS)}"
        raise SalverError("no such embedded solver", name, mend)
    solver: Solver = importlib.import_module(SOLVERS[name]).solve
    return solver


def main(argv: list[str] | None = None) -> int:
    """Entry point of the command; returns its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _main(arguments)
    except SalverError as error:
        print(f"salver-solve: {error}", file=sys.stderr)
        return 2


def _main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    if options.solver is None or (options.action is None and not (options.name or options.version)):
        _parser().print_usage(sys.stderr)
        return 2
    solver = load(options.solver)
    if options.name or options.version:
        print(f"salver-{options.solver}" if options.name else __version__)
        return 0
    if options.action == "supports":
        asked = [key for key in SUPPORTS if getattr(options, key.replace("-", "_"))]
        print("\n".join(word for key in asked for word in SUPPORTS[key].split()))
        return 0 if asked else 2
    budget = Budget(options.timeout)
    if options.timeout <= 0:
        raise SalverError(f"timeout {options.timeout:g} is not positive", "--timeout", "give seconds above 0")
    network = Path(options.network.partition("=")[2] or options.network)
    result, query = _solve(solver, network, options, budget)
    _print(result, query, options.serialise_assignments)
    return 0


def _solve(
    solver: Solver, network: Path, options: argparse.Namespace, budget: Budget
) -> tuple[Result, Query | None]:
    query = None
    try:
        query = read_query(network, options.query)
        chosen = Options(options.threads, options.device, options.seed, options.backend)
        return solver(query, budget, chosen), query
    except UnsupportedQueryError as error:
        return Result(Verdict.UNKNOWN, reason=f"not supported: {error}"), query


def _print(result: Result, query: Query | None, folder: Path | None) -> None:
    print(result.verdict.value)
    if result.witness is not None and query is not None:
        outputs = query.replay(result.witness)
        lines = [f"(X_{i} {_number(v)})" for i, v in enumerate(result.witness.tolist())]
        lines += [f"(Y_{i} {_number(v)})" for i, v in enumerate(outputs.tolist())]
        print("(" + "\n ".join(lines) + ")")
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            for name, values in (("X", result.witness), ("Y", outputs)):
                text = "\n".join(_number(v) for v in values.tolist())
                (folder / f"{name}.txt").write_text(f"{name} float32 [1,{len(values)}]\n{text}\n")
    if result.reason:
        print(result.reason, file=sys.stderr)


def _number(value: float) -> str:
    return np.format_float_positional(np.float32(value), unique=True, trim="0")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("salver-solve", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("solver", nargs="?", help=", ".join(SOLVERS))
    parser.add_argument("--name", action="store_true", help="print the solver's name")
    parser.add_argument("--version", action="store_true", help="print the solver's version")
    actions = parser.add_subparsers(dest="action")
    verify = actions.add_parser("verify", help="decide one query")
    verify.add_argument("query", type=Path)
    verify.add_argument("--network", required=True, help="NAME=FILE.onnx")
    verify.add_argument("--timeout", type=float, default=3600.0, help="wall seconds (default 3600)")
    verify.add_argument("--serialise-assignments", type=Path, metavar="DIR")
    verify.add_argument("--threads", type=int, default=1)
    verify.add_argument("--device", default="cpu", help="cpu or cuda")
    verify.add_argument("--seed", type=int, default=0)
    verify.add_argument("--backend", default="", help="exact back end where the solver has several")
    supports = actions.add_parser("supports", help="print what the solver accepts")
    for key in SUPPORTS:
        supports.add_argument(f"--{key}", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main())
