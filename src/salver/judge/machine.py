"""The record of a machine; apart from `compare`, so that a run needs no pandas."""

from __future__ import annotations

from collections.abc import Mapping

from salver.core.records import Record


class Machine(Record):
    """What a run was made on; empty or None where a manifest does not say.

    Attributes:
        cores, physical_cores: that the run could use; memory_mb: of the whole machine, MiB.
        governor, turbo, hyperthreads: of the CPU; None or empty where the system does not tell.
        load: load average of the minute before; limits: how limits were kept.
        packages: versions of those that can change a result.
    """

    system: str = ""
    processor: str = ""
    cores: int | None = None
    physical_cores: int | None = None
    memory_mb: int | None = None
    governor: str = ""
    turbo: bool | None = None
    hyperthreads: bool | None = None
    load: float | None = None
    limits: str = ""
    python: str = ""
    packages: Mapping[str, str] = {}
