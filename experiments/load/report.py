"""Time and memory of `salver report` over synthetic runs.

python -m experiments.load.report [RECORDS ...]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from experiments.load.synthetic import synthetic_run


def measured(root: Path, name: str) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak memory (MiB) of one `salver report`, start of Python included."""
    command = [sys.executable, "-m", "salver.cli", "report", name]
    since = time.monotonic()
    process = subprocess.Popen(
        command, cwd=root, env={**os.environ, "SALVER_ROOT": str(root)}, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"salver report {name} failed with status {status}")
    return time.monotonic() - since, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    """Makes the runs in a temporary folder, or in --keep, and reports each twice: first, then again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--keep", type=Path, help="folder for the runs; kept")
    options = parser.parse_args()
    print("records  first (s)  again (s)  again CPU (s)  first (MiB)  again (MiB)  page (MB)", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for records in options.records:
            root = (options.keep or Path(folder)).resolve() / str(records)
            run_dir = root / "reports" / f"load-{records}"
            if not (run_dir / "manifest.json").exists():
                synthetic_run(root, records)
            first, _, peak = measured(root, run_dir.name)
            again, cpu, later = measured(root, run_dir.name)
            page = (run_dir / "index.html").stat().st_size / 1e6
            row = f"{records:7}  {first:9.2f}  {again:9.2f}  {cpu:13.2f}"
            row += f"  {peak:11.0f}  {later:11.0f}  {page:9.2f}"
            print(row, flush=True)


if __name__ == "__main__":
    main()
