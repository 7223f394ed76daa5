"""`salver-solve check-proof ONNX VNNLIB FILE`: exit status 0 only when the proof is accepted.

1 when it is rejected, 2 when something cannot be read. Nothing of the solvers is imported.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from salver.commands.one_line import OneLineParser
from salver.errors import SalverError
from salver.nets.onnx.reader import read_onnx
from salver.proofs.checker import RejectedError, check
from salver.proofs.graph import UnsupportedNetworkError
from salver.proofs.record import read_proof
from salver.spec import read_vnnlib


def check_file(onnx: Path, vnnlib: Path, proof: Path) -> int:
    """Checks a stored proof; returns how many parts of the query it closed.

    Where `vnnlib` is missing, the file of that name with `.gz` is read.

    Raises:
        SalverError: a file cannot be read or does not fit.
        RejectedError, UnsupportedNetworkError: see `check`.
    """
    compressed = Path(f"{vnnlib}.gz")
    network = read_onnx(onnx)
    prop = read_vnnlib(compressed if compressed.exists() and not vnnlib.exists() else vnnlib)
    if (network.input_size, network.output_size) != (len(prop.input_lower), prop.output_count):
        raise SalverError("network and property have different sizes", str(vnnlib), "use its own network")
    return check(network, prop, read_proof(proof, network, prop))


def proof_parser() -> OneLineParser:
    """The parser of the command."""
    example = "example:\n  salver-solve check-proof m.onnx q.vnnlib q.proof.gz"
    parser = OneLineParser("salver-solve check-proof", description=__doc__, epilog=example)
    for name, about in (
        ("onnx", "the query's network"),
        ("vnnlib", "the query; where it is missing, VNNLIB.gz"),
        ("proof", "its proof"),
    ):
        parser.add_argument(name, type=Path, help=about)
    return parser


def main(argv: list[str]) -> int:
    """Entry point; returns the exit status."""
    options, since = proof_parser().parse_args(argv), time.monotonic()
    try:
        closed = check_file(options.onnx, options.vnnlib, options.proof)
    except (RejectedError, UnsupportedNetworkError) as error:
        print(f"rejected: {error}")
        return 1
    except SalverError as error:
        print(f"salver-solve: {error}", file=sys.stderr)
        return 2
    print(f"accepted: unsat, {closed} parts closed")
    print(f"checking: {time.monotonic() - since:.3f} s", file=sys.stderr)
    return 0
