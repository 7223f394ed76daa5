"""The answer to a query as `salver-solve` prints it: a verdict and, with `sat`, the assignment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from salver.solvers.query import Query, Result


def written(result: Result, query: Query | None, folder: Path | None) -> str:
    """The answer as printed: verdict and assignment, which is also stored in `folder` where one is given.

    The assignment has the form of the query's own version: tensor by tensor in 2.0, one list in 1.0.
    """
    if result.witness is None or query is None:
        return result.verdict.value
    if query.lifted is not None:
        tensors = query.lifted.assignment(result.witness)
    else:
        sides = {"input": result.witness, "output": query.replay(result.witness)}
        tensors = [(tensor.name, tensor.head, sides[tensor.role]) for tensor in query.tensors]
    if folder is not None:
        from salver.core.files import write_atomically

        for name, _, values in tensors:
            text = "\n".join(_number(v, query.double) for v in values.tolist())
            element = "float64" if query.double else "float32"
            write_atomically(folder / f"{name}.txt", f"{name} {element} [1,{len(values)}]\n{text}\n")
    if tensors[0][1]:
        lines = [
            line for _, head, values in tensors for line in (head, *_numbers(head, values, query.double))
        ]
        return "\n".join((result.verdict.value, *lines))
    lines = [
        f"({name}_{i} {_number(v, query.double)})"
        for name, _, values in tensors
        for i, v in enumerate(values.tolist())
    ]
    return result.verdict.value + "\n(" + "\n ".join(lines) + ")"


def _numbers(head: str, values: Any, double: bool) -> list[str]:
    """The values of a tensor as `head` declares it, which may be of whole numbers."""
    whole = head.split()[1].startswith(("int", "uint"))
    return [str(int(value)) if whole else _number(value, double) for value in values.tolist()]


def _number(value: float, double: bool = False) -> str:
    """The shortest decimal that is read as the value, in single precision where that holds it."""
    import numpy as np

    narrow = np.float32(value)
    kept = np.float64(value) if double or narrow != value else narrow
    return np.format_float_positional(kept, unique=True, trim="0")
