"""Keys for one run's Dask traffic, so that nobody else on the network can hand code to its processes.

Dask's processes execute what they receive. With these settings they talk only to those who hold the run's
key, which is made afresh, lies in a folder of the user alone, and reaches pilots over the shared file system.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from salver.core.errors import SalverError

_CERTIFICATE, _KEY = "certificate.pem", "key.pem"
_MAKE_S = 60.0
_DAYS = "400"


def make_keys(folder: Path) -> Path:
    """Makes `folder` with a key and a certificate that vouches for itself; returns the folder.

    Raises:
        SalverError: no OpenSSL here, or it fails; the folder cannot be written.
    """
    mend = "install openssl, or set tls = false in the --pools file if you trust the network"
    if shutil.which("openssl") is None:
        raise SalverError("openssl not found, which makes the keys between pilots and scheduler", mend=mend)
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    files = ["-keyout", str(folder / _KEY), "-out", str(folder / _CERTIFICATE)]
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        done = subprocess.run(
            [*command, "-days", _DAYS, "-subj", "/CN=salver", *files],
            capture_output=True,
            text=True,
            timeout=_MAKE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SalverError(f"cannot make keys ({error})", str(folder), mend) from error
    if done.returncode != 0:
        said = done.stderr.strip().rpartition("\n")[2]
        raise SalverError(f"cannot make keys ({said})", str(folder), mend)
    return folder


def settings(folder: Path | None) -> dict[str, object]:
    """Dask settings that demand these keys of everyone; none without a folder."""
    if folder is None:
        return {}
    pair = {"cert": str(folder / _CERTIFICATE), "key": str(folder / _KEY)}
    own = {f"distributed.comm.tls.{role}": pair for role in ("scheduler", "worker", "client")}
    certificate = str(folder / _CERTIFICATE)
    return {**own, "distributed.comm.tls.ca-file": certificate, "distributed.comm.require-encryption": True}
