"""`salver verify-set`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from salver.core.errors import FoundError, counted


def verify_set(
    path: Annotated[Path, typer.Argument(help="published folder, or its .tar.gz")],
) -> None:
    """Check a published set. Every checksum, then every instance again with ONNX Runtime and two readers.

    Exit status 1 when something does not fit.

    Example: salver verify-set published/bandit.tar.gz
    """
    from salver.publish.verify import verify_set as verify

    manifest, complaints = verify(path)
    for complaint in complaints:
        print(f"{complaint.file}: {complaint.what}")
    if complaints or manifest is None:
        found = counted(len(complaints), "complaint")
        raise FoundError(found, str(path), "fetch the set again from its publisher")
    print(f"{path}: {counted(len(manifest.instances), 'instance')} as published, and valid")
