"""A suite of a few instances on the bandit network, for tests of whole commands."""

from __future__ import annotations

from collections.abc import Sequence


def tiny_suite(
    points: int, epsilons: Sequence[float], delta_factors: Sequence[float], *, enumerated: bool = True
) -> str:
    """Text of a suite file titled `tiny`, of the family vg_box."""
    return f"""
title = "tiny"
timeout = 5
[[family]]
generator = "vg_box"
[family.params]
network = "bandit-6x6"
points = {points}
epsilons = {list(epsilons)}
delta_factors = {list(delta_factors)}
{"enumerate = true" if enumerated else ""}
"""
