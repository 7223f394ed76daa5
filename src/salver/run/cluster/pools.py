"""Pools of Slurm pilots, as a small TOML file describes them, and what they offer to jobs."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from pydantic import Field, field_validator

from salver.core.errors import SalverError
from salver.core.files import read_toml
from salver.core.records import Record, parse_record
from salver.run.cluster.workforce import Request
from salver.run.plan import PlannedJob

PILOT_MEMORY_MB = 1000
"""What a pilot itself needs beside its jobs."""
_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<parts>\d+(?::\d+){0,2})")


class Pool(Record):
    """Pilots of one kind: `count` Slurm jobs of one node each.

    Attributes:
        name: for messages and file names.
        count: pilots at a time.
        cores: cores of one pilot; so many jobs of one core run on it.
        gpus: GPUs of one pilot (`--gres=gpu:N`), each for one job at a time.
        time: time limit of one pilot as sbatch reads it: minutes, HH:MM:SS or D-HH:MM:SS.
        memory_mb: MiB of one pilot; None asks for what its jobs' limits add up to. With less than that
            fewer jobs run side by side.
        partition, account: as for sbatch; empty leaves the site's default.
        extra: further `#SBATCH` options, such as `--constraint=...`.
    """

    name: str = Field(default="cpu", pattern=r"^[A-Za-z0-9_-]+$")
    count: int = Field(default=2, ge=1)
    cores: int = Field(default=4, ge=1)
    gpus: int = Field(default=0, ge=0)
    time: str = "04:00:00"
    memory_mb: int | None = Field(default=None, gt=PILOT_MEMORY_MB)
    partition: str = ""
    account: str = ""
    extra: tuple[str, ...] = ()

    @field_validator("time")
    @classmethod
    def _is_time(cls, text: str) -> str:
        if _TIME.fullmatch(text) is None or not time_s(text):
            raise ValueError("is no time limit; write minutes, HH:MM:SS or D-HH:MM:SS")
        return text

    @field_validator("partition", "account", "extra")
    @classmethod
    def _is_one_line(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if any(any(c.isspace() for c in text) for text in ([value] if isinstance(value, str) else value)):
            raise ValueError("must not hold white space")
        return value


class Pools(Record):
    """`--pools FILE`.

    Attributes:
        scheduler_host: address of this machine that the nodes reach.
        tls: pilots and scheduler talk only to those who hold the run's keys; not on the loopback.
        margin_s: seconds kept free at the end of a pilot's time for starting and storing.
        pool: the kinds of pilots.
    """

    scheduler_host: str = Field(default_factory=socket.gethostname)
    tls: bool = True
    margin_s: float = Field(default=60.0, ge=0)
    pool: tuple[Pool, ...] = Field(default=(Pool(),), min_length=1)


class Demand(NamedTuple):
    """The most that single jobs ask for: seconds from start to end, MiB per core."""

    seconds: float
    memory_mb: int

    @classmethod
    def of(cls, planned: Iterable[PlannedJob]) -> Demand:
        limits = [p.job.limits for p in planned]
        seconds = max((one.wall_s + one.grace_s for one in limits), default=0.0)
        return cls(seconds, max((-(-one.memory_mb // one.cores) for one in limits), default=0))


class Lifetime(NamedTuple):
    """Seconds after which a pilot takes no job, and by how much that is varied at random."""

    seconds: float
    stagger_s: float


def read_pools(path: Path | None, device: str) -> Pools:
    """Pools from a file; None makes the defaults, with a pool of GPUs where the device is `cuda`.

    Raises:
        SalverError: the file cannot be read, or an entry is wrong.
    """
    if path is None:
        gpus = (Pool(name="gpu", gpus=1),) if device == "cuda" else ()
        return Pools(pool=(*gpus, Pool()))
    pools: Pools = parse_record(Pools, read_toml(path, "correct the file of --pools"), str(path))
    names = [pool.name for pool in pools.pool]
    if len(set(names)) < len(names):
        raise SalverError("two pools have one name", str(path), "rename one")
    return pools


def time_s(text: str) -> float:
    """Seconds of a Slurm time limit that matches its syntax (man sbatch, --time)."""
    days, _, clock = text.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    if days:
        hours, minutes, seconds = (*parts, 0, 0)[:3]
    elif len(parts) == 3:
        hours, minutes, seconds = parts
    else:
        hours, (minutes, seconds) = 0, (*parts, 0)[:2]
    return float(((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds)


def lifetime(pool: Pool, margin_s: float, demand: Demand) -> Lifetime:
    """How long a pilot may take jobs, so that each of them can use all of its limit.

    Raises:
        SalverError: the pool's time is too short for its longest job.
    """
    room = time_s(pool.time) - demand.seconds - margin_s
    if room <= 0:
        what = f"a time of {pool.time} is too short for runs of {demand.seconds:g} s"
        hint = f"give it more than {demand.seconds + margin_s:g} s"
        raise SalverError(what, f"pool {pool.name}", hint)
    stagger = min(60.0, room / 20)
    return Lifetime(room - stagger, stagger)


def offer(pool: Pool, demand: Demand) -> Request:
    """Cores and GPUs that one pilot announces."""
    if pool.memory_mb is None or demand.memory_mb == 0:
        return Request(pool.cores, pool.gpus)
    return Request(min(pool.cores, (pool.memory_mb - PILOT_MEMORY_MB) // demand.memory_mb), pool.gpus)


def memory_mb(pool: Pool, demand: Demand) -> int:
    """MiB that one pilot asks for."""
    return pool.memory_mb or PILOT_MEMORY_MB + pool.cores * demand.memory_mb
