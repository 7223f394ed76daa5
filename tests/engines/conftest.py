"""Benches whose runs may leave no process behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from experiments.engines.bench import Bench
from tests.fake_solvers.project import Fake

Make = Callable[[Mapping[str, Fake]], Bench]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes one bench whose environment is this process's own."""
    made: list[Bench] = []

    def bench(fakes: Mapping[str, Fake]) -> Bench:
        made.append(Bench(tmp_path, fakes))
        for name, value in made[0].environment().items():
            monkeypatch.setenv(name, value)
        return made[0]

    yield bench
    for each in made:
        assert each.stays() == []
