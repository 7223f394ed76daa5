"""What a run printed, kept compressed so that it can be parsed and judged again."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

from salver.errors import SalverError
from salver.files import sync
from salver.model import Finished, RunRecord

COMMAND = "command.json"
_FILES = "files"


def store_logs(run_dir: Path, key: str, finished: Finished) -> str:
    """Writes `logs/<key>/{stdout,stderr}.gz`, the command and the result files; returns that path.

    It is within `run_dir`. The folder appears whole or not at all, and what is judged of it is on the disk on
    return, since a record will point to it. Raises OSError.
    """
    name = f"logs/{key}"
    partial = run_dir / f"{name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    texts = {"stdout": finished.stdout, "stderr": finished.stderr}
    texts |= {f"{_FILES}/{file}": text for file, text in finished.files.items()}
    if finished.command:
        texts[COMMAND] = json.dumps({"argv": finished.command, "environment": finished.environment}) + "\n"
    try:
        for file, text in texts.items():
            target = partial / f"{file}.gz"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(_packed(text))
        shutil.rmtree(run_dir / name, ignore_errors=True)
        partial.rename(run_dir / name)
        for file, text in texts.items():
            if text and file != COMMAND:
                sync(run_dir / name / f"{file}.gz")
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return name


def store_witness(run_dir: Path, key: str, witness: str) -> str:
    """Writes `cex/<key>.txt` whole or not at all; returns the path within `run_dir`.

    On return it is on the disk: a `sat` whose witness a power cut took would count as wrong. Raises OSError.
    """
    name = f"cex/{key}.txt"
    partial = run_dir / f"{name}.partial"
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        partial.write_text(witness, encoding="utf-8", errors="replace")
        partial.rename(run_dir / name)
        sync(run_dir / name)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    return name


def read_finished(run_dir: Path, record: RunRecord) -> Finished:
    """The run as the supervisor saw it, for `Runner.parse` to read again.

    Raises:
        SalverError: the logs are missing or corrupt.
    """
    folder = run_dir / (record.logs or f"logs/{record.key}")
    try:
        stdout, stderr = (_unpacked(folder / f"{name}.gz") for name in ("stdout", "stderr"))
        packed = sorted(path for path in (folder / _FILES).rglob("*.gz") if path.is_file())
        files = {str(path.relative_to(folder / _FILES))[:-3]: _unpacked(path) for path in packed}
    except (OSError, EOFError) as error:
        raise SalverError(f"cannot read a stored log ({error})", str(folder), "run this job again") from error
    return Finished(
        termination=record.termination,
        exit_code=record.exit_code,
        signal=record.signal,
        wall_s=record.wall_s,
        cpu_s=record.cpu_s,
        memory_mb=record.memory_mb,
        measured=record.measured,
        stdout=stdout,
        stderr=stderr,
        files=files,
        reason=record.reason,
    )


def _packed(text: str) -> bytes:
    """Nothing for nothing: an empty file needs no wait for the disk."""
    return gzip.compress(text.encode(errors="replace"), compresslevel=6, mtime=0) if text else b""


def _unpacked(path: Path) -> str:
    return gzip.decompress(path.read_bytes()).decode(errors="replace")
