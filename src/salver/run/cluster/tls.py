"""Keys for one run's Dask traffic, so that nobody else on the network can hand code to its processes.

Dask's processes execute what they receive. With these settings they talk only to those who hold the run's
key, which is made afresh, lies in a folder of the user alone, and reaches pilots over the shared file system.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from salver.core.errors import SalverError

_CERTIFICATE, _KEY = "certificate.pem", "key.pem"


def make_keys(folder: Path) -> Path:
    """Makes `folder` with a key and a certificate that vouches for itself; returns the folder.

    Raises:
        SalverError: the package `cryptography` is missing, or the folder cannot be written.
    """
    from distributed.security import Security

    hint = "set tls = false in the --pools file if you trust the network"
    try:
        made = Security.temporary()
    except ImportError as error:
        hint = f"install salver[dask], or {hint}"
        raise SalverError("needs the package cryptography, which makes the keys", "tls", hint) from error
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        for name, text in ((_KEY, made.tls_client_key), (_CERTIFICATE, made.tls_client_cert)):
            (folder / name).touch(mode=0o600)
            (folder / name).write_text(text)
    except OSError as error:
        raise SalverError(f"cannot make keys ({error})", str(folder), hint) from error
    return folder


def settings(folder: Path | None) -> dict[str, object]:
    """Dask settings that demand these keys of everyone; none without a folder."""
    if folder is None:
        return {}
    pair = {"cert": str(folder / _CERTIFICATE), "key": str(folder / _KEY)}
    own = {f"distributed.comm.tls.{role}": pair for role in ("scheduler", "worker", "client")}
    certificate = str(folder / _CERTIFICATE)
    return {**own, "distributed.comm.tls.ca-file": certificate, "distributed.comm.require-encryption": True}
