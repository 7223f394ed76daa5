"""`salver validate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from salver.cli.options import AsJson
from salver.core.errors import FoundError, counted


def validate(
    folder: Annotated[Path, typer.Argument(help="an instance set: its folder, .tar.gz or instances.csv")],
    as_json: AsJson = False,
) -> None:
    """Check an instance set with three readers.

    ONNX Runtime, our own and the vnnlib package read it again. Of somebody else's set its texts are
    read, and its networks are run and must fit them.

    Example: salver validate instances/quick/1-s0
    """
    from salver.publish.validate import validated_json
    from salver.publish.verify import check_set

    instances, complaints = check_set(folder)
    if as_json:
        print(validated_json(folder, instances, complaints))
    else:
        for complaint in complaints:
            print(f"{complaint.file}: {complaint.what}")
    if complaints:
        hint = "correct its files, or generate the set again"
        raise FoundError(counted(len(complaints), "complaint"), str(folder), hint)
    if not as_json:
        print(f"{folder}: {counted(instances, 'instance')} valid")
