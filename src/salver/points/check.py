"""Whether an explanation is robust within one radius."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from salver.core.errors import SalverError
from salver.core.files import refuse_output, write_atomically
from salver.points.answer import PointProof, RobustnessAnswer, answer
from salver.points.decide import Decided, QueryFolder, Robustness, decide
from salver.points.limit import TimeOverError, stopped_after
from salver.points.options import Solving
from salver.points.point_question import PointQuestion
from salver.solvers.query import Budget, Verdict
from salver.solvers.registry import SOLVERS, embedded_solver


def check_within(
    asked: PointQuestion, epsilon: float, solving: Solving, proof: Path | None = None, *, force: bool = False
) -> RobustnessAnswer:
    """Decides whether the explanation is robust within a radius.

    Args:
        epsilon: of the box around the point, in the units of the data; positive.
        proof: file for a proof of a robust explanation; the two files that it is about go beside it.
        force: files that are there may be replaced.

    Raises:
        SalverError: the radius is not positive, the solver does not take the network or writes no proofs, or
            a file cannot be written.
    """
    if proof is not None:
        refuse_proof(proof, solving, asked, force=force)
    with TemporaryDirectory(prefix="salver-check-") as folder:
        staged = QueryFolder(asked, Path(folder))
        budget, since = Budget(solving.timeout), time.monotonic()
        decided = decide(staged, epsilon, solving, budget, record=proof is not None)
        written = None
        if proof is not None and decided.result.verdict is Verdict.UNSAT:
            written = prove(staged, epsilon, decided, budget, proof)
        if written is not None:
            decided = replace(decided, robustness=Robustness.ROBUST, reason="")
        return answer(asked, epsilon, solving, decided, time.monotonic() - since, written)


def refuse_proof(proof: Path, solving: Solving, asked: PointQuestion, *, force: bool) -> None:
    """Refuses a proof that could not be written.

    Raises:
        SalverError: the solver writes none, or one of the three files is there already.
    """
    if not embedded_solver(solving.solver).proves:
        provers = ", ".join(one.name for one in SOLVERS.values() if one.proves)
        raise SalverError("writes no proofs", solving.solver, f"use {provers}")
    inputs = [asked.subject.file] if asked.subject.file is not None else []
    for path in proof_files(proof):
        refuse_output(path, force=force, inputs=inputs, option="--force")


def proof_files(proof: Path) -> tuple[Path, Path, Path]:
    """The proof, and the network and the query it is about."""
    return proof, Path(f"{proof}.onnx"), Path(f"{proof}.vnnlib")


def prove(
    staged: QueryFolder, epsilon: float, decided: Decided, budget: Budget, proof: Path
) -> PointProof | None:
    """Finds a proof of `unsat`, has it checked by a process of its own, and writes it with its two files.

    Returns:
        None where none was found in the time that is left.

    Raises:
        SalverError: the checker rejects it, or a file cannot be written.
    """
    from salver.nets.affine import UnsupportedQueryError
    from salver.proofs.bounded import CheckReply
    from salver.proofs.onnx_file import UnsupportedNetworkError
    from salver.proofs.record import QueryFiles, write_proof
    from salver.proofs.vnnlib_file import UnsupportedPropertyError
    from salver.proofs.worker import CheckerProcess
    from salver.solvers.proving.search import prove as search

    query = staged.at(epsilon)
    files = QueryFiles.read(staged.onnx, staged.vnnlib)
    try:
        with stopped_after(budget.left):
            steps = search(query, budget, files, decided.result.journal)
    except (TimeOverError, UnsupportedNetworkError, UnsupportedPropertyError, UnsupportedQueryError):
        return None
    if steps is None:
        return None
    held = staged.folder / f"unsat{'.gz' if proof.suffix == '.gz' else ''}"
    write_proof(held, files, steps)
    checker = CheckerProcess()
    try:
        outcome = checker.check(staged.onnx, staged.vnnlib, held)
    finally:
        checker.close()
    if outcome.answer is not CheckReply.ACCEPTED:
        raise SalverError(f"the proof was not accepted ({outcome.detail})", str(proof), "report this query")
    for path, content in zip(proof_files(proof), (held.read_bytes(), files.network, files.prop), strict=True):
        write_atomically(path, content)
    return PointProof(*proof_files(proof))
