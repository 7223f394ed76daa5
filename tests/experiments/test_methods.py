"""The table of methods: graphs of a set against their definitions."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.methods import graphs
from salver.families.generate import generate
from salver.judge.loaded import read_set
from tests.builders.suites import suite


@pytest.mark.slow
def test_every_graph_of_a_set_is_compared_once(tmp_path: Path) -> None:
    maps = [{"method": "gradient"}, {"method": "occlusion", "window": 1}]
    questions = [{"kind": "entry-moves", "delta": 1.0}, {"kind": "sign-changes", "entry": 1}]
    params = {
        "network": "bandit-6x6",
        "indices": [882],
        "epsilons": [0.1],
        "maps": maps,
        "questions": questions,
    }
    folder, _ = generate(suite("saliency", params), tmp_path)
    found = list(graphs(read_set(folder)))
    assert [one["method"] for one in found] == ["gradient", "occlusion"]
    for one in found:
        assert 0 < float(str(one["deviation"])) < 1e-5
        assert int(str(one["operators"])) > 5
