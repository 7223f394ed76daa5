"""One job from the copied files to the record: what every engine does in each of its slots."""

from __future__ import annotations

import os
import platform
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

from salver.core.errors import SalverError
from salver.run.logs import store_logs, store_witness
from salver.run.plan import PlannedJob
from salver.run.slots import Lease
from salver.run.stage import private_folder, stage
from salver.runners.answers import Answer, Claim, RunRecord
from salver.runners.contract import Runner
from salver.supervise.finished import Finished, Termination
from salver.supervise.process import lost, run_supervised
from salver.supervise.runexec import run_with_runexec

_NOTHING = Answer(claim=Claim.NONE)
_MAY_END_OTHERWISE = (Claim.SAT, Claim.UNKNOWN, Claim.TIMEOUT)
"""Answers that count with one of a runner's `exit_codes`: a witness is replayed, the others claim nothing."""
_REASON_LENGTH = 300
_PAUSE_S = 0.6
_WARM_UP_S = 10.0
Backend = Literal["salver", "runexec"]


class Folders(NamedTuple):
    """Where all jobs of a run work.

    `root` is the instance set, `run_dir` receives `logs/` and `cex/`, `scratch` holds the private copies
    (None: the system's temporary folder). `backend` limits and measures: our supervisor or BenchExec.
    """

    root: Path
    run_dir: Path
    scratch: Path | None = None
    backend: Backend = "salver"


def run_job(
    planned: PlannedJob,
    runner: Runner,
    folders: Folders,
    share: Lease | None = None,
    stop: threading.Event | None = None,
) -> RunRecord:
    """Stages, runs and parses one job and stores its logs; whatever a tool or runner does, it is recorded.

    A loss on this side (INFRASTRUCTURE) is tried once more, after a pause in which whatever ended the run may
    end this process too; nothing else ever is.

    Args:
        share: of the machine: the GPU becomes CUDA_VISIBLE_DEVICES. None pins nothing and leaves that
            variable as it is.
        stop: as for `run_supervised`.
    """
    stop = stop or threading.Event()
    record = _attempt(planned, runner, folders, share, stop)
    if record.termination is Termination.INFRASTRUCTURE and not stop.wait(_PAUSE_S):
        record = _attempt(planned, runner, folders, share, stop)
    return record


def warm_up(
    planned: PlannedJob, runner: Runner, folders: Folders, share: Lease, stop: threading.Event
) -> None:
    """Runs a job once and unrecorded, so that no measured run pays for cold file caches.

    It is short, in a folder that is thrown away; arguments as for `run_job`.
    """
    limits = planned.job.limits
    short = limits.model_copy(update={"wall_s": min(limits.wall_s, _WARM_UP_S)})
    job = planned.job.model_copy(update={"limits": short})
    with private_folder(folders.scratch) as aside:
        run_job(planned.model_copy(update={"job": job}), runner, folders._replace(run_dir=aside), share, stop)


def _attempt(
    planned: PlannedJob, runner: Runner, folders: Folders, share: Lease | None, stop: threading.Event
) -> RunRecord:
    started = datetime.now(UTC).isoformat(timespec="milliseconds")
    finished, answer = _run(planned, runner, folders, share, stop)
    if finished.exit_code in runner.exit_codes and answer.claim in _MAY_END_OTHERWISE:
        finished = finished.model_copy(update={"exit_code": 0})
    logs = witness = None
    stopped = stop.is_set() and finished.termination is Termination.INFRASTRUCTURE
    try:
        if not stopped:
            logs = store_logs(folders.run_dir, planned.job.key, finished)
        if answer.witness is not None:
            witness = store_witness(folders.run_dir, planned.job.key, answer.witness)
    except (OSError, SalverError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        finished, answer = lost(f"cannot store logs in {folders.run_dir}: {why}"), _NOTHING
        logs = witness = None
    return planned.record(
        finished,
        answer.claim,
        _reason(finished, answer),
        witness=witness,
        logs=logs,
        started=started,
        host=platform.node(),
    )


def _run(
    planned: PlannedJob, runner: Runner, folders: Folders, share: Lease | None, stop: threading.Event
) -> tuple[Finished, Answer]:
    limits = planned.job.limits
    visible = {} if share is None else {"CUDA_VISIBLE_DEVICES": share.gpu}
    try:
        with stage(planned.instance, folders.root, folders.scratch) as place:
            try:
                command = runner.command(place.staged, place.workdir, limits)
                environment = {**_home(runner), **runner.environment(limits), **visible}
            except Exception as error:
                finished = lost("").model_copy(update={"termination": Termination.CRASHED})
                return finished, _failed("command", error)
            supervise = run_with_runexec if folders.backend == "runexec" else run_supervised
            finished = supervise(
                command,
                place.workdir,
                limits,
                environment=environment,
                cores=share and share.cores,
                result_files=(*runner.result_files, *([runner.proof_file] if runner.proofs else [])),
                scratch=place.root,
                stop=stop,
            )
            ran = {"command": tuple(command), "environment": environment}
            finished = finished.model_copy(update=ran)
    except (SalverError, OSError) as error:
        return lost(str(error)), _NOTHING
    return finished, read_answer(runner, planned, finished)


def _home(runner: Runner) -> dict[str, str]:
    return {"HOME": os.environ["HOME"]} if runner.needs_home and "HOME" in os.environ else {}


def read_answer(runner: Runner, planned: PlannedJob, finished: Finished) -> Answer:
    """What the solver said; a runner that cannot read its own tool's output makes it an ERROR."""
    if finished.termination is Termination.INFRASTRUCTURE:
        return _NOTHING
    if _left_no_result(runner, finished):
        # The run's own reason says what stands where the result should.
        return Answer(claim=Claim.ERROR)
    try:
        return runner.parse(planned.instance, finished)
    except Exception as error:
        return _failed("parse", error)


def _left_no_result(runner: Runner, finished: Finished) -> bool:
    """Whether something else than a file stands for the results of a tool, or for its proof.

    A tool may be asked for several files and answer in one of them: what it says there counts.
    """
    results = set(runner.result_files)
    lost = results & set(finished.unread) and not results & set(finished.files)
    return bool(lost) or (runner.proofs and finished.unread.get(runner.proof_file) == "unfit")


def _failed(method: str, error: Exception) -> Answer:
    return Answer(claim=Claim.ERROR, reason=f"the runner's {method}() failed: {error!r}")


def _reason(finished: Finished, answer: Answer) -> str:
    """Why the run is not a plain answer, in one line."""
    parts = [finished.reason, answer.reason]
    decided = answer.claim in (Claim.SAT, Claim.UNSAT)
    if finished.termination is Termination.WALLTIME and decided:
        parts.insert(1, f"its answer {answer.claim} came without ending in time and does not count")
    if finished.exit_code:
        if decided and finished.termination is Termination.EXITED:
            parts.append(f"its answer {answer.claim} does not count, since it ended with an error")
        last = finished.stderr.strip().rpartition("\n")[2]
        parts.append(f"exit code {finished.exit_code}" + (f": {last}" if last else ""))
    return " ".join("; ".join(filter(None, parts)).split())[:_REASON_LENGTH]
