"""The tool itself: a program that salver starts and knows nothing of."""

from __future__ import annotations

import itertools
import re
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime

BOUND = re.compile(r"\(assert \(([<>])= X_(\d+) (\S+)\)\)")


def main(onnx: str, vnnlib: str, seconds: str) -> None:
    """Claims nothing: it looks whether all corners of the box are in one class, and cannot say more."""
    end = time.monotonic() + 0.8 * float(seconds)
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    bounds: dict[int, list[float]] = {}
    for _, index, value in BOUND.findall(Path(vnnlib).read_text()):
        bounds.setdefault(int(index), []).append(float(value))
    for corner in itertools.product(*(bounds[index] for index in sorted(bounds))):
        session.run(None, {entry.name: np.array([corner], np.float32)})
        if time.monotonic() > end:
            break
    print("unknown")


if __name__ == "__main__":
    main(*sys.argv[1:])
