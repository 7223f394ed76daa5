"""Kinds of misbehaviour, each drawn with random figures and with the outcome that it must have."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from salver.runners.answers import Claim, RunRecord
from salver.supervise.finished import Limits, Termination

ROOMY = Limits(wall_s=30.0)
WITNESS = "((X_0 0.5)\n(X_1 0.25))"
EXITED, CRASHED, MEMORY = Termination.EXITED, Termination.CRASHED, Termination.MEMORY
WALLTIME, CPUTIME, LOST = Termination.WALLTIME, Termination.CPUTIME, Termination.INFRASTRUCTURE


class Fault(NamedTuple):
    """A fake solver with its arguments and limits, and what its record must say.

    `over` names the limit whose overshoot is of interest: `wall`, `cpu`, `memory`, or is empty.
    """

    behaviour: str
    arguments: tuple[str, ...] = ()
    limits: Limits = ROOMY
    termination: Termination = EXITED
    claim: Claim = Claim.NONE
    reason: str = ""
    over: str = ""

    def complaint(self, record: RunRecord) -> str:
        """What is wrong with the record, or nothing. A reason's words are our supervisor's."""
        found, wanted = (record.termination, record.claim), (self.termination, self.claim)
        if found != wanted:
            return f"{' '.join(found)} instead of {' '.join(wanted)} ({record.reason})"
        by_runexec = record.measured == "runexec" or record.reason.startswith("runexec")
        worded = by_runexec or self.reason in record.reason
        return "" if worded else f"the reason is {record.reason!r}"

    def overshoot(self, record: RunRecord) -> float | None:
        """How far the run went over its limit, in seconds (wall, CPU) or MiB (memory)."""
        if self.over == "wall":
            return record.wall_s - self.limits.wall_s
        if self.over == "cpu":
            return record.cpu_s - (self.limits.cpu_s or 0)
        return record.memory_mb - self.limits.memory_mb if self.over == "memory" else None

    def delay(self, record: RunRecord) -> float | None:
        """Seconds from the moment of a kill for wall time, which is after the time of grace, to its end."""
        killed = self.over == "wall" and record.signal is not None
        return record.wall_s - self.limits.wall_s - self.limits.grace_s if killed else None


def _over_wall(behaviour: str, *arguments: str, claim: Claim = Claim.NONE) -> Callable[[Random], Fault]:
    def draw(rng: Random) -> Fault:
        limits = Limits(wall_s=round(rng.uniform(0.3, 1.0), 3), grace_s=rng.choice((0.0, 0.1, 0.5)))
        return Fault(behaviour, arguments, limits, WALLTIME, claim, "over the wall limit", "wall")

    return draw


def _over_cpu(behaviour: str) -> Callable[[Random], Fault]:
    def draw(rng: Random) -> Fault:
        limits = Limits(wall_s=30, cpu_s=round(rng.uniform(0.1, 0.6), 3))
        return Fault(behaviour, (), limits, CPUTIME, Claim.NONE, "over the CPU limit", "cpu")

    return draw


def _over_memory(behaviour: str, *arguments: str) -> Callable[[Random], Fault]:
    def draw(rng: Random) -> Fault:
        limits = Limits(wall_s=30, memory_mb=rng.randint(50, 110))
        return Fault(behaviour, arguments, limits, MEMORY, Claim.NONE, "over the memory limit", "memory")

    return draw


def _plain(
    behaviour: str,
    *arguments: str,
    termination: Termination = EXITED,
    claim: Claim = Claim.NONE,
    reason: str = "",
) -> Callable[[Random], Fault]:
    return lambda _: Fault(behaviour, arguments, ROOMY, termination, claim, reason)


def _late(rng: Random) -> Fault:
    wall_s = round(rng.uniform(0.2, 0.5), 3)
    limits = Limits(wall_s=wall_s, grace_s=20)
    seconds = f"{wall_s + rng.uniform(0.02, 0.2):.3f}"
    return Fault("late", (seconds,), limits, WALLTIME, Claim.UNSAT, "does not count", "wall")


def _floods(behaviour: str, most_mb: int) -> Callable[[Random], Fault]:
    def draw(rng: Random) -> Fault:
        limits = Limits(wall_s=30, output_mb=rng.choice((1, 2)))
        stream = behaviour.removeprefix("fills_")
        size = str(rng.randint(8, most_mb))
        return Fault(behaviour, (size,), limits, EXITED, Claim.UNSAT, f"{stream} was cut")

    return draw


def _fork_bomb(rng: Random) -> Fault:
    limits = Limits(wall_s=round(rng.uniform(0.5, 1.0), 3), grace_s=0)
    count = str(rng.randint(20, 200))
    return Fault("fork_bomb", (count,), limits, WALLTIME, Claim.NONE, "over the wall limit", "wall")


def _stops(how: str) -> Callable[[Random], Fault]:
    return _plain(
        "stops_supervisor", how, termination=CRASHED, claim=Claim.UNSAT, reason="stopped its supervisor"
    )


KINDS: dict[str, Callable[[Random], Fault]] = {
    "sleeps past the limit": _over_wall("sleeps"),
    "ignores signals": _over_wall("ignores_signals"),
    "answers, then hangs": _over_wall("answers_then_hangs", claim=Claim.UNSAT),
    "stops itself": _over_wall("stops_itself"),
    "closes its output": _over_wall("closes_output"),
    "daemon, and hangs": _over_wall("daemon", "stay", claim=Claim.UNKNOWN),
    "endless output": _over_wall("fills_stdout", "1000000", claim=Claim.UNSAT),
    "fork bomb": _fork_bomb,
    "ends late": _late,
    "burns CPU": _over_cpu("burns_cpu"),
    "burns CPU in three": _over_cpu("burns_cores"),
    "memory, step by step": _over_memory("memory_hog"),
    "memory in a burst": _over_memory("memory_burst"),
    "memory of a family": _over_memory("memory_family", "45", "private"),
    "forks and leaves": _plain("forks", claim=Claim.UNKNOWN, reason="4 left-over processes killed"),
    "double-forked daemon": _plain("daemon", claim=Claim.UNKNOWN, reason="1 left-over processes killed"),
    "hidden daemon": _plain("hidden_daemon", claim=Claim.UNKNOWN, reason="1 left-over processes killed"),
    "hydra": _plain("hydra", claim=Claim.UNKNOWN),
    "floods stdout": _floods("fills_stdout", 1024),
    "floods stderr": _floods("fills_stderr", 64),
    "crashes": _plain("crashes", termination=CRASHED, reason="SIGSEGV"),
    "answers, then aborts": _plain("aborts", termination=CRASHED, claim=Claim.UNSAT, reason="SIGABRT"),
    "fails": _plain("exits_nonzero", reason="exit code 3: ValueError: no such layer"),
    "garbage": _plain("garbage", reason="no verdict"),
    "wrong witness": _plain("sat_wrong_witness", claim=Claim.SAT),
    "torn witness": _plain("sat_malformed_witness", claim=Claim.SAT),
    "litters beside its input": _plain("litters", claim=Claim.UNSAT),
    "writes elsewhere": _plain("writes_elsewhere", claim=Claim.UNSAT),
    "reads stdin": _plain("reads_stdin", claim=Claim.UNSAT),
    "kills its supervisor": _plain("kills_supervisor", termination=LOST, reason="the supervisor died"),
    "stops its supervisor": _stops("once"),
    "stops its supervisor, and stays": _stops("stay"),
    "stops its supervisor again and again": _stops("again"),
    "stops the server of supervisors": _plain("stops_server", claim=Claim.UNSAT),
    "well-behaved": _plain("sat", WITNESS, claim=Claim.SAT),
}

ABOUT_OUR_SUPERVISOR = frozenset(
    name for name in KINDS if name.startswith("stops ") and name != "stops itself"
)
"""Kinds whose parent must be our supervisor, which it is not where `runexec` stands between."""

FULL_DISK: dict[str, Callable[[Random], Fault]] = {
    "fills the disk": _plain("fills_disk", "64", claim=Claim.UNKNOWN, reason="no space left"),
    "fills the disk, makes room": _plain("fills_disk", "64", "free", claim=Claim.UNKNOWN),
    "fills the disk, floods": _plain("fills_disk", "64", "flood", termination=LOST, reason="No space left"),
}
"""Kinds that need a small file system of their own as scratch folder."""
