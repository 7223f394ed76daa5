"""Small data of one's own in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def arrays(path: Path, **changes: Any) -> Path:
    """Six rows of three numbers in two classes, with what else a test puts in; None leaves an array out."""
    x = np.linspace(-1, 2, 18).reshape(6, 3)
    held = {"x": x, "y": np.array([0, 1, 0, 1, 0, 1]), **changes}
    np.savez(path, **{name: value for name, value in held.items() if value is not None})
    return path


def table(path: Path, *lines: str) -> Path:
    """Lines of a .csv file."""
    path.write_text("\n".join(lines) + "\n")
    return path


def images(folder: Path, mode: str = "RGB", size: tuple[int, int] = (4, 5)) -> Path:
    """Two classes with two images each, of a height and a width; their pixels are all different."""
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(2):
            shape = (*size, 3) if mode == "RGB" else size
            pixels = rng.integers(0, 256, shape).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def ranges_of(rows: Any) -> dict[str, Any]:
    """The ranges that rows [N, n] span, a little widened, one for each entry."""
    return {"lower": rows.min(axis=0) - 0.1, "upper": rows.max(axis=0) + 0.1}
