"""`salver validate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from salver.cli.options import AsJson
from salver.core.errors import FoundError, counted


def validate(
    folder: Annotated[Path, typer.Argument(help="folder of an instance set")],
    as_json: AsJson = False,
) -> None:
    """Check an instance set with three readers. ONNX Runtime, our own and the vnnlib package read it again.

    Example: salver validate instances/quick/1-s0
    """
    from salver.publish.validate import validate as validate_set
    from salver.publish.validate import validated_json

    manifest, complaints = validate_set(folder)
    if as_json:
        print(validated_json(folder, manifest, complaints))
    else:
        for complaint in complaints:
            print(f"{complaint.file}: {complaint.what}")
    if complaints:
        raise FoundError(counted(len(complaints), "complaint"), str(folder), "generate the set again")
    if not as_json:
        print(f"{folder}: {counted(len(manifest.instances), 'instance')} valid")
