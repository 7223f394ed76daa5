"""The Slurm engine: pilots, which are Slurm jobs that start a Dask worker and take jobs from us.

The scheduler runs in the coordinator. Pilots are known by the id that sbatch gave and by nothing else.
"""

from __future__ import annotations

import contextlib
import getpass
import ipaddress
import shlex
import shutil
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from salver.core.confined import clear, folder_inside, read_inside
from salver.core.errors import SalverError
from salver.run.cluster.engine import run_dask
from salver.run.cluster.pools import Demand, Lifetime, Pool, Pools, lifetime, memory_mb, offer
from salver.run.cluster.tls import make_keys
from salver.run.cluster.workforce import LOOPBACK, Request, own_scheduler, worker_command
from salver.run.events import RunSummary, Work

ASK_EVERY_S = 5.0
_ANSWER_S = 60.0
_MOST_SUBMITTED_BYTES = 1 << 20
_DEATHS_PER_PILOT = 3
_TOOLS = ("sbatch", "squeue", "scancel")
_NAME_ANOTHER = "write an address of this machine that the nodes reach into the --pools file"


def run_slurm(work: Work, pools: Pools) -> RunSummary:
    """As `run_dask`, on pilots of these pools.

    Raises:
        SalverError: as `run_dask`; no Slurm here; a pool too small for a job; pilots that keep dying.
    """
    require_slurm()
    folder = work.folders.run_dir.resolve() / "pilots"
    return run_dask(work, Pilots(pools, Demand.of(work.plan.jobs), folder))


def require_slurm() -> None:
    """Raises SalverError where Slurm's commands are missing."""
    missing = [name for name in _TOOLS if shutil.which(name) is None]
    if missing:
        hint = "run on a machine that submits to Slurm, or choose --engine local or dask"
        raise SalverError(f"{', '.join(missing)} not found", "--engine slurm", hint)


def pilot_script(
    pool: Pool, demand: Demand, living: Lifetime, address: str, log: Path, keys: Path | None = None
) -> str:
    """The batch script of one pilot. `log` is a path pattern for sbatch (`%j` is the job's id), `keys` the
    folder of the run's keys.

    `exec` makes the worker the batch process, so that Slurm's SIGTERM at the end reaches it.
    """
    announced = offer(pool, demand)
    options = [
        f"--job-name={_job_name(pool)}",
        "--nodes=1",
        "--ntasks=1",
        f"--cpus-per-task={pool.cores}",
        f"--mem={memory_mb(pool, demand)}M",
        f"--time={pool.time}",
        f"--output={log}",
        "--open-mode=append",
        "--no-requeue",
        *([f"--gres=gpu:{pool.gpus}"] if pool.gpus else []),
        *([f"--partition={pool.partition}"] if pool.partition else []),
        *([f"--account={pool.account}"] if pool.account else []),
        *pool.extra,
    ]
    ends = ["--lifetime", f"{living.seconds:.0f}", "--lifetime-stagger", f"{living.stagger_s:.0f}"]
    ends += [] if keys is None else ["--tls", str(keys)]
    command = worker_command(address, announced.cores, announced.gpus, *ends)
    lines = [
        "#!/bin/sh",
        *(f"#SBATCH {shlex.quote(option)}" for option in options),
        "",
        f"exec {shlex.join(command)}",
    ]
    return "\n".join(lines) + "\n"


def _job_name(pool: Pool) -> str:
    return f"salver-{pool.name}"


class Pilots:
    """Keeps every pool at its number of pilots while there are jobs left; a `Workforce`."""

    def __init__(self, pools: Pools, demand: Demand, folder: Path) -> None:
        self.pools, self.demand, self.folder = pools, demand, folder
        self.living = {pool.name: lifetime(pool, pools.margin_s, demand) for pool in pools.pool}
        self.patience_s: float | None = None
        self.at_most: int | None = None
        self.offers: Sequence[Request] | None = [offer(pool, demand) for pool in pools.pool]
        self.ids: dict[str, list[str]] = {pool.name: [] for pool in pools.pool}
        self._submitted = folder / "submitted"
        self._address = ""
        self._tls: Path | None = None
        self._asked = float("-inf")
        self._deaths = self._finished = 0

    @contextlib.contextmanager
    def gather(self) -> Iterator[str]:
        _require_reachable(self.pools.scheduler_host)
        with self._keys() as self._tls, own_scheduler(self.pools.scheduler_host, self._tls) as address:
            self._address = address
            self._cancel_stale()
            try:
                yield address
            finally:
                self._cancel()

    @contextlib.contextmanager
    def _keys(self) -> Iterator[Path | None]:
        """Keys for the time of this run; none where the scheduler is not reached from other machines."""
        if not self.pools.tls or self.pools.scheduler_host in ("localhost", LOOPBACK):
            yield None
            return
        keys = make_keys(self.folder / "keys")
        try:
            yield keys
        finally:
            shutil.rmtree(keys, ignore_errors=True)

    def tend(self, finished: int, left: Counter[Request]) -> None:
        now = time.monotonic()
        if now - self._asked < ASK_EVERY_S:
            return
        self._asked = now
        self._forget_ended(finished)
        for pool in self.pools.pool:
            alive = self.ids[pool.name]
            while len(alive) < min(pool.count, self._wanted(pool, left)):
                alive.append(self._submit(pool))

    def _wanted(self, pool: Pool, left: Counter[Request]) -> int:
        """How many jobs a pool is there for: a pool with GPUs is for others only where no pool without is."""
        plain = [offer(other, self.demand) for other in self.pools.pool if not other.gpus]
        return sum(
            count
            for request, count in left.items()
            if request.fits(offer(pool, self.demand))
            and not (pool.gpus and any(request.fits(other) for other in plain))
        )

    def _forget_ended(self, finished: int) -> None:
        known = [job for jobs in self.ids.values() for job in jobs]
        if not known:
            return
        queued = self._queued(known)
        ended = [job for job in known if job not in queued]
        self.ids = {name: [job for job in jobs if job in queued] for name, jobs in self.ids.items()}
        self._deaths = len(ended) if finished > self._finished else self._deaths + len(ended)
        self._finished = finished
        if self._deaths > _DEATHS_PER_PILOT * sum(pool.count for pool in self.pools.pool):
            what = f"{self._deaths} pilots ended without any job finishing"
            raise SalverError(what, str(self.folder), "read the newest log there and resume the run")

    def _queued(self, known: Sequence[str]) -> frozenset[str]:
        """Those still waiting or running. squeue fails when it has forgotten all that it is asked for;
        where it fails for any other reason they are taken to live, and asked for again later."""
        asked = ["squeue", "--noheader", "--format=%i", f"--jobs={','.join(known)}"]
        code, output, errors = called(asked)
        if code == 0 or "Invalid job id" in errors:
            return frozenset(output.split())
        return frozenset(known)

    def _submit(self, pool: Pool) -> str:
        folder_inside(self.folder.parent, self.folder.name)
        log = self.folder / f"{pool.name}-%j.log"
        living = self.living[pool.name]
        script = pilot_script(pool, self.demand, living, self._address, log, self._tls)
        code, output, errors = called(["sbatch", "--parsable"], script)
        if code != 0:
            said = errors.strip().rpartition("\n")[2].removeprefix("sbatch: error: ")
            raise SalverError(
                f"sbatch refuses a pilot ({said})", f"pool {pool.name}", "correct the --pools file"
            )
        job = output.strip().partition(";")[0]
        with self._submitted.open("a") as file:
            file.write(f"{_job_name(pool)} {job}\n")
        return job

    def _cancel(self) -> None:
        known = [job for jobs in self.ids.values() for job in jobs]
        if not known or called(["scancel", *known])[0] == 0:
            self._submitted.unlink(missing_ok=True)

    def _cancel_stale(self) -> None:
        """Cancels what a killed coordinator of this run left in the queue.

        Slurm may have given an id anew, so the job must also have our name and user.
        """
        try:
            name = f"{self.folder.name}/{self._submitted.name}"
            text = read_inside(self.folder.parent, name, _MOST_SUBMITTED_BYTES).decode(errors="replace")
        except OSError:
            # What is no list of ours must not be written to either.
            clear(self._submitted)
            return
        user = f"--user={getpass.getuser()}"
        pairs = [line.split() for line in text.splitlines()]
        known = [(pair[0], pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()]
        # Without an id scancel would take every job of that name.
        for name in sorted({name for name, _ in known}):
            mine = [job for owner, job in known if owner == name]
            called(["scancel", user, f"--name={name}", *mine])


def _require_reachable(host: str) -> None:
    """Raises SalverError for a name that means this machine only to itself, as Debian's 127.0.1.1 does.

    A loopback address that is written out is meant so: the only node is this machine.
    """
    try:
        address = ipaddress.ip_address(socket.gethostbyname(host))
    except (OSError, ValueError) as error:
        raise SalverError(f"cannot be resolved ({error})", f"scheduler_host {host}", _NAME_ANOTHER) from error
    if address.is_loopback and host != "localhost" and host != str(address):
        what = f"means {address}, which no other machine reaches"
        raise SalverError(what, f"scheduler_host {host}", _NAME_ANOTHER)


def called(command: Sequence[str], text: str = "") -> tuple[int, str, str]:
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=_ANSWER_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, "", str(error)
    return done.returncode, done.stdout, done.stderr
