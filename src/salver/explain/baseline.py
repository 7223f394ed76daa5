"""The fixed input that a method compares x with: one number for all entries, or a number for each."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator, Field

from salver.core.errors import SalverError

Array = npt.NDArray[np.float64]


def listed(value: Any) -> Any:
    """One value as a list of one, for fields of a record that take either."""
    return value if isinstance(value, list | tuple) else (value,)


Finite = Annotated[float, Field(allow_inf_nan=False)]
Baseline = Annotated[tuple[Finite, ...], BeforeValidator(listed), Field(min_length=1)]
"""A field of a record: `baseline = 0.5` or `baseline = [0.1, 0.2]`."""


def baseline_values(baseline: tuple[float, ...], size: int, name: str = "baseline") -> Array:
    """The baseline as an input [size], every value a binary32 number.

    Args:
        name: of the entry that holds it, for errors.

    Raises:
        SalverError: it has neither one number nor one an entry, or a number that binary32 has not.
    """
    if len(baseline) not in (1, size):
        what = f"holds {len(baseline)} numbers for {size} entries"
        raise SalverError(what, name, "give one number for all entries, or one for each")
    with np.errstate(over="ignore"):
        values = np.broadcast_to(np.asarray(baseline, np.float64), size).astype(np.float32)
    if not np.isfinite(values).all():
        raise SalverError("holds a number too large for single precision", name, "give a smaller one")
    return values.astype(np.float64)


def entry_ranges(input_range: tuple[float, float] | None, size: int) -> tuple[Array, Array]:
    """Lowest and highest value of every entry [size], [size]; infinite where no range is given.

    Raises:
        SalverError: as `refuse_no_range`.
    """
    if input_range is not None:
        refuse_no_range(*input_range)
    low, high = input_range or (-np.inf, np.inf)
    return np.full(size, low), np.full(size, high)


def refuse_no_range(low: float, high: float) -> None:
    """Refuses two numbers that are not a lower and a higher one, such as `nan`, or one of them infinite.

    Raises:
        SalverError: with what to give.
    """
    if not (low < high and np.isfinite([low, high]).all()):
        raise SalverError(
            f"{low:g} to {high:g} is no range", "input_range", "give two numbers, the lower first"
        )


def refuse_outside(baseline: tuple[float, ...], low: Array, high: Array, name: str = "baseline") -> None:
    """Refuses a baseline that no input of the data can be.

    Args:
        low, high: lowest and highest value of every entry [n]; infinite where nothing is known.
        name: as `baseline_values`.

    Raises:
        SalverError: an entry of it is outside of its range; else as `baseline_values`.
    """
    values = baseline_values(baseline, len(low), name)
    outside = (values < low) | (values > high)
    if outside.any():
        entry = int(np.argmax(outside))
        what = f"{values[entry]:g} is outside of the range {low[entry]:g} to {high[entry]:g} of entry {entry}"
        raise SalverError(what, name, "give an input that the data may have")
