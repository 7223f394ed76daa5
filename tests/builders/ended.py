"""Commands that have ended."""

from __future__ import annotations

from salver.supervise.finished import Finished, Termination


def ended(
    termination: Termination = Termination.EXITED, exit_code: int | None = 0, **texts: object
) -> Finished:
    return Finished.model_validate(
        {
            "termination": termination, "exit_code": exit_code, "signal": None,
            "wall_s": 0.1, "cpu_s": 0.1, "memory_mb": 1.0, **texts,
        }
    )  # fmt: skip
