"""Bounding nodes together must not change what the search finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from salver.core.errors import SalverError
from salver.solvers.bounding.arrays import Device
from salver.solvers.hybrid import tree
from salver.solvers.hybrid.lookahead import LookAhead
from salver.solvers.hybrid.node import SearchNode, children, root_node, tighten
from salver.solvers.query import Budget, Options, Query, Verdict
from tests.builders.small_queries import random_query


def opened(folder: Path, seed: int) -> tuple[Query, list[SearchNode]] | None:
    """The two children of the root, where bounding leaves something open."""
    query = random_query(folder, seed)
    root = root_node(query)
    bounds = tighten(query, root)
    pair = [] if bounds is None else children(query, bounds, root)
    return (query, pair) if pair else None


@pytest.mark.slow
def test_nodes_bounded_ahead_are_the_nodes_bounded_one_by_one(tmp_path: Path) -> None:
    seen = 0
    for case in filter(None, (opened(tmp_path, seed) for seed in range(20))):
        query, pair = case
        together = list(pair)
        LookAhead(query.program, Device("cpu")).bound(together)
        for alone, ahead in zip(pair, together, strict=True):
            assert ahead.bounded
            one, other = tighten(query, alone), tighten(query, ahead)
            assert (one is None) == (other is None)
            if one is not None and other is not None:
                for ours, theirs in zip(one.pre_lower, other.pre_lower, strict=True):
                    assert np.allclose(ours, theirs, atol=1e-8)
                seen += 1
    assert seen > 10


@pytest.mark.slow
def test_the_search_gives_the_same_verdicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts = set()
    for case in filter(None, (opened(tmp_path, seed) for seed in range(7))):
        query, pair = case
        alone = tree.search(query, Budget(20.0), Options(), list(pair)).verdict
        search = tree.TreeSearch(query, Budget(20.0), Options())
        search.ahead = LookAhead(query.program, Device("cpu"))
        assert search.run(list(pair), lambda _: None).verdict is alone
        verdicts.add(alone)
    assert {Verdict.SAT, Verdict.UNSAT} <= verdicts


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_cuda_device_the_error_says_so(tmp_path: Path) -> None:
    query, pair = next(filter(None, (opened(tmp_path, seed) for seed in range(40))))
    with pytest.raises(SalverError, match="CUDA"):
        tree.search(query, Budget(20.0), Options(device="cuda"), pair)
