"""The command line of `salver-solve`: its parser and its completion.

Little is imported: the time it takes counts as solving.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from salver.core.command_line import OneLineParser, actions_of, options_of
from salver.core.errors import SalverError, suggestion
from salver.solvers.registry import SOLVERS, EmbeddedSolver

CHECK_PROOF, COMPLETION = "check-proof", "--show-completion"
SUPPORTS = {
    "onnx-opset-versions": "7 26",
    "onnx-element-types": "float32 float64",
    "onnx-operators": "",
    "vnnlib-versions": "1.0 2.0",
    "hidden-node-theories": "NH H",
    "multiple-input-output-theories": "SIO MIO",
    "multiple-network-theories": "SNET MENET MINET MNET",
    "multiple-node-comparison-theories": "SNC MNC",
    "arithmetic-complexity-theories": "BND OUTC LIN POLY",
    "optimised-disjunctive-reasoning": "true",
    "serialise-assignments": "false",
}
"""Answers of `supports`, the same for every solver, in the words of the VNN-LIB standard (2.0, section 5.4),
one a line; of operators those of the ONNX reader."""
_EXAMPLES = """examples:
  salver-solve hybrid verify q.vnnlib --network N=m.onnx --timeout 60
  salver-solve check-proof m.onnx q.vnnlib q.proof.gz
  salver-solve --show-completion >> ~/.bashrc"""
_COMPLETION = """_salver_solve() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} words="{options}"
  case $COMP_CWORD in
    1) words="{solvers} --help {completion}" ;;
    2) [ "${{COMP_WORDS[1]}}" = {check} ] || words="{actions}" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
if [ -n "${{ZSH_VERSION:-}}" ]; then autoload -Uz bashcompinit && bashcompinit; fi
complete -o default -F _salver_solve salver-solve"""


def build_parser() -> OneLineParser:
    """The parser of what follows the solver's name; `check-proof` has one of its own."""
    about = "The embedded solvers as commands of their own, on the VNN-LIB standard command line."
    listed = f"solvers: {', '.join(SOLVERS)}\n\n{_EXAMPLES}"
    usage = "salver-solve SOLVER [--name | --version] | verify ... | supports ..."
    parser = OneLineParser("salver-solve", usage=usage, description=about, epilog=listed)
    parser.add_argument("--name", action="store_true", help="print the solver's name")
    parser.add_argument("--version", action="store_true", help="print the solver's version")
    parser.add_argument(
        COMPLETION, action="store_true", dest="completion", help="print completion for bash and zsh"
    )
    actions = parser.add_subparsers(dest="action")
    _add_verify(actions)
    named = actions.add_parser(
        "supports",
        help="print what the solver accepts",
        prog="salver-solve SOLVER supports",
        epilog="example:\n  salver-solve milp supports --onnx-operators",
    )
    for key in SUPPORTS:
        named.add_argument(f"--{key}", action="store_true", help=f"one {key.rstrip('s')} a line")
    return parser


def _add_verify(actions: Any) -> None:
    verify = actions.add_parser(
        "verify",
        help="decide one query",
        prog="salver-solve SOLVER verify",
        epilog="example:\n  salver-solve hybrid verify q.vnnlib --network N=m.onnx --timeout 60 --threads 2",
    )
    verify.add_argument("query", type=Path, help="VNN-LIB 1.0 or 2.0; where it is missing, QUERY.gz")
    verify.add_argument(
        "--network", required=True, action="append", metavar="NAME=FILE", help="the ONNX file"
    )
    verify.add_argument("--timeout", type=float, default=3600.0, metavar="S", help="wall seconds (3600)")
    verify.add_argument(
        "--serialise-assignments", type=Path, metavar="DIR", help="store X and Y of a sat as text files there"
    )
    verify.add_argument("--threads", type=int, default=1, help="processes or threads of the search (1)")
    verify.add_argument("--device", default="cpu", help="cpu or cuda")
    verify.add_argument("--seed", type=int, default=0, help="of everything that is random (0)")
    verify.add_argument(
        "--proof", type=Path, metavar="FILE", help="write a proof of an unsat there (.gz packs it)"
    )
    verify.add_argument(
        "--force", action="store_true", help="replace what --proof and --serialise-assignments find there"
    )
    verify.add_argument("--backend", default="", help="exact back end where the solver has several")
    verify.add_argument(
        "--without",
        default="",
        metavar="PARTS",
        help=f"leave parts of the solver out, for ablation, with commas: {_all_parts()}",
    )


def _all_parts() -> str:
    return "; ".join(f"{one.name} has {', '.join(one.parts)}" for one in SOLVERS.values() if one.parts)


def parts_left_out(solver: EmbeddedSolver, text: str) -> frozenset[str]:
    """The parts that `--without` names.

    Raises:
        SalverError: a solver without parts, or no such part.
    """
    if not text:
        return frozenset()
    if not solver.parts:
        divided = [one.name for one in SOLVERS.values() if one.parts]
        raise SalverError(
            f"{solver.name} has no parts to leave out", "--without", f"use {' or '.join(divided)}"
        )
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if part not in solver.parts:
            what = f"{solver.name} has no part {part!r}"
            raise SalverError(what, "--without", suggestion(part, solver.parts))
    return frozenset(parts)


def completion_script(parser: OneLineParser) -> str:
    """Completion for bash, and for zsh by its bash emulation: solvers, actions and options, else files."""
    actions = actions_of(parser)
    return _COMPLETION.format(
        options=" ".join(options_of(parser)),
        solvers=" ".join([*SOLVERS, CHECK_PROOF]),
        actions=" ".join([*actions, "--name", "--version"]),
        completion=COMPLETION,
        check=CHECK_PROOF,
    )
