"""What jobs take turns at: cores, and GPUs for those that want one. A job sees its own and no other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from salver.core.errors import SalverError

_TOPOLOGY = "/sys/devices/system/cpu/cpu{}/topology"


class Lease(NamedTuple):
    """One job's share: slots, its GPU, which is empty for a CPU job, and whether slots are CPU numbers."""

    slots: tuple[int, ...]
    gpu: str = ""
    pinned: bool = False

    @property
    def cores(self) -> tuple[int, ...] | None:
        """The CPU numbers that it is pinned to, if it is."""
        return self.slots if self.pinned else None


class Slots:
    """Free slots and GPUs.

    Raises:
        SalverError: fewer cores than slots.
    """

    def __init__(self, workers: int, cores: Sequence[int] | None, gpus: Sequence[str] = ()) -> None:
        if workers < 1 or (cores is not None and len(cores) < workers):
            there = "this machine" if cores is None else f"{len(cores)} cores"
            raise SalverError(
                f"{workers} jobs at a time do not fit on {there}", hint="choose another number with -j"
            )
        self.workers = workers
        self.pinned = cores is not None
        self._order = list(range(workers)) if cores is None else list(cores[:workers])
        self._free = list(self._order)
        self._gpus = list(gpus)

    def take(self, asked: int, gpu: bool = False) -> Lease | None:
        """That many slots (at most all there are) and a GPU if need be; None while too few are free."""
        count = min(asked, self.workers)
        if count > len(self._free) or (gpu and not self._gpus):
            return None
        taken, self._free = tuple(self._free[:count]), self._free[count:]
        return Lease(taken, self._gpus.pop(0) if gpu else "", self.pinned)

    def give_back(self, taken: Lease) -> None:
        """Frees a job's share; neighbouring cores stay neighbours."""
        self._free = sorted([*self._free, *taken.slots], key=self._order.index)
        if taken.gpu:
            self._gpus.append(taken.gpu)


def physical_cores(
    cpus: Iterable[int] | None = None, read: Callable[[str], str] = lambda path: Path(path).read_text()
) -> list[int]:
    """One CPU number of each physical core that this process may use, cores of one package side by side.

    The other hyperthreads of a core stay idle, since two runs on one core slow each other down. A CPU
    whose topology is not told counts as a core.

    Args:
        cpus: CPU numbers to choose from; None takes this process's affinity.
        read: reads a file below /sys; raises OSError where there is none.
    """
    chosen: dict[tuple[int, int, int], int] = {}
    for cpu in sorted(os.sched_getaffinity(0) if cpus is None else cpus):
        folder = _TOPOLOGY.format(cpu)
        try:
            siblings = _listed(read(f"{folder}/thread_siblings_list"))
            package = int(read(f"{folder}/physical_package_id"))
        except (OSError, ValueError):
            siblings, package = [cpu], 0
        chosen.setdefault((package, min(siblings), len(siblings)), cpu)
    return [chosen[key] for key in sorted(chosen)]


def _listed(text: str) -> list[int]:
    """Numbers of a kernel list such as `0-2,8`."""
    found: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def gpu_names(count: int, environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Names for CUDA_VISIBLE_DEVICES, one a GPU: those this process was given, else their numbers."""
    given = [name.strip() for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return tuple((given or [str(number) for number in range(count)])[:count])
