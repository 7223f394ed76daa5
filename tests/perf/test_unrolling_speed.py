"""ResNet-18 and VGG-11 from file to file: `pytest --benchmark-enable tests/perf/test_unrolling_speed.py`.

Without measuring, the networks are narrow and the images small.
"""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from salver.explain.unroll import logit_combination, unroll
from salver.nets.network import single
from salver.nets.onnx.reader import read_onnx
from salver.nets.onnx.writer import to_bytes, to_model
from tests.builders.image_networks import exported, resnet_18, vgg_11, with_drawn_statistics

CLASSES = 1000


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ResNet-18", "VGG-11"])
def test_from_file_to_file(benchmark: BenchmarkFixture, tmp_path: Path, name: str) -> None:
    size, width, hidden = (224, 64, 4096) if benchmark.enabled else (32, 4, 16)
    made = resnet_18(width, CLASSES) if name == "ResNet-18" else vgg_11(width, size, hidden, CLASSES)
    path = exported(with_drawn_statistics(made), (1, 3, size, size), tmp_path / "net.onnx")
    del made

    def from_file_to_file() -> int:
        graph = unroll(single(read_onnx(path)), logit_combination(CLASSES, 0))
        return (tmp_path / "graph.onnx").write_bytes(to_bytes(to_model(graph)))

    written = benchmark.pedantic(from_file_to_file, rounds=1)
    benchmark.extra_info["graph, MB"] = round(written / 1e6, 1)
    benchmark.extra_info["peak memory, GB"] = round(
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2
    )
    assert written > path.stat().st_size
