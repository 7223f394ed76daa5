"""What a run printed, kept compressed so that it can be parsed and judged again."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from salver.core.confined import clear, folder_inside, list_inside, unpack_inside, write_inside
from salver.core.errors import SalverError
from salver.core.files import sync
from salver.runners.answers import RunRecord
from salver.supervise.finished import MEASURED, Finished

FOLDERS = ("logs", "cex")
"""What a run stores lies in these folders of its own."""
COMMAND = "command.json"
MOST_BYTES = 256 << 20
"""Largest log or result file that is read back, unpacked; a run stores `Limits.output_mb` of each."""
_FILES = "files"


def store_logs(run_dir: Path, key: str, finished: Finished) -> str:
    """Writes `logs/<key>/{stdout,stderr}.gz`, the command and the result files; returns that path.

    It is within `run_dir`. The folder appears whole or not at all, and what is judged of it is on the disk on
    return, since a record will point to it.

    Raises:
        OSError, SalverError: it cannot be written.
    """
    name = f"logs/{key}"
    # A run's folder may come from elsewhere: nothing is written or removed through a link in it.
    logs = folder_inside(run_dir, "logs")
    partial = logs / f"{key}.partial"
    clear(partial)
    texts = {"stdout": finished.stdout, "stderr": finished.stderr}
    texts |= {f"{_FILES}/{file}": text for file, text in finished.files.items()}
    if finished.command:
        texts[COMMAND] = json.dumps({"argv": finished.command, "environment": finished.environment}) + "\n"
    try:
        for file, text in texts.items():
            target = partial / f"{file}.gz"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(_packed(text))
        clear(run_dir / name)
        partial.rename(run_dir / name)
        for file, text in texts.items():
            if text and file != COMMAND:
                sync(run_dir / name / f"{file}.gz")
    except OSError:
        clear(partial)
        raise
    return name


def store_witness(run_dir: Path, key: str, witness: str) -> str:
    """Writes `cex/<key>.txt` whole or not at all; returns the path within `run_dir`.

    On return it is on the disk: a `sat` whose witness a power cut took would count as wrong.

    Raises:
        OSError, SalverError: it cannot be written.
    """
    name = f"cex/{key}.txt"
    write_inside(run_dir, name, witness, wait=False)
    sync(run_dir / name)
    return name


def read_finished(run_dir: Path, record: RunRecord) -> Finished:
    """The run as the supervisor saw it, for `Runner.parse` to read again.

    Raises:
        SalverError: the logs are missing or corrupt.
    """
    logs = record.logs or f"logs/{record.key}"
    folder = run_dir / logs
    try:
        stdout, stderr = (_unpacked(run_dir, f"{logs}/{name}.gz") for name in ("stdout", "stderr"))
        stored = [name for name, kind in list_inside(folder / _FILES) if kind == "file"]
        packed = sorted(name for name in stored if name.endswith(".gz"))
        files = {name[:-3]: _unpacked(run_dir, f"{logs}/{_FILES}/{name}") for name in packed}
    except OSError as error:
        what = f"cannot read a stored log ({error.strerror or error})"
        raise SalverError(what, str(folder), "run this job again") from error
    measured = record.model_dump(include=MEASURED)
    return Finished(**measured, stdout=stdout, stderr=stderr, files=files, reason=record.reason)


def _packed(text: str) -> bytes:
    """Nothing for nothing: an empty file needs no wait for the disk."""
    return gzip.compress(text.encode(errors="replace"), compresslevel=6, mtime=0) if text else b""


def _unpacked(run_dir: Path, name: str) -> str:
    return unpack_inside(run_dir, name, MOST_BYTES).decode(errors="replace")
