"""`salver-solve check-proof ONNX VNNLIB FILE`: exit status 0 only when the proof is accepted.

1 when it is rejected, or over a limit; 2 when something cannot be read. Nothing of the solvers is imported.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from salver.core.command_line import OneLineParser
from salver.proofs.bounded import CheckLimits, CheckReply, check_bounded


def proof_parser() -> OneLineParser:
    """The parser of the command."""
    example = "example:\n  salver-solve check-proof m.onnx q.vnnlib q.proof.gz"
    parser = OneLineParser("salver-solve check-proof", description=__doc__, epilog=example)
    for name, about in (
        ("onnx", "the query's network; where it is missing, ONNX.gz"),
        ("vnnlib", "the query; where it is missing, VNNLIB.gz"),
        ("proof", "its proof"),
    ):
        parser.add_argument(name, type=Path, help=about)
    usual = CheckLimits()
    parser.add_argument(
        "--timeout", type=_positive, default=usual.seconds, metavar="S",
        help=f"seconds after which a proof is unchecked, {usual.seconds:g} by default",
    )  # fmt: skip
    parser.add_argument(
        "--memory", type=_positive, default=usual.memory_mib, metavar="MIB",
        help=f"memory of the checking process, {usual.memory_mib} MiB by default",
    )  # fmt: skip
    return parser


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r:.40} is no number above 0")
    return value


def main(argv: list[str]) -> int:
    """Entry point; returns the exit status."""
    options = proof_parser().parse_args(argv)
    limits = CheckLimits(options.timeout, max(1, int(options.memory)))
    outcome = check_bounded(options.onnx, options.vnnlib, options.proof, limits)
    match outcome.answer:
        case CheckReply.ACCEPTED:
            print(f"accepted: unsat, {outcome.closed} part{'' if outcome.closed == 1 else 's'} closed")
            print(f"checking: {outcome.seconds:.3f} s", file=sys.stderr)
            return 0
        case CheckReply.REJECTED | CheckReply.UNCHECKED:
            limited = "unchecked, " if outcome.answer is CheckReply.UNCHECKED else ""
            print(f"rejected: {limited}{outcome.detail}")
            return 1
    print(f"salver-solve: {outcome.detail}", file=sys.stderr)
    return 2
