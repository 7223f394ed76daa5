"""Trained networks: the same weights each time, a cache that cannot mislead, and torch left as it was."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from salver.core.errors import SalverError
from salver.zoo import datasets
from salver.zoo import networks as zoo
from salver.zoo.networks import ZOO, NetSpec, pinned, trained, weights_sha256
from salver.zoo.training import WEIGHT_STEP, accuracy

QUICK = NetSpec(dataset="digits", architecture=(8,), epochs=1, batch_size=64)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SALVER_CACHE", str(tmp_path))
    return tmp_path / "weights"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "floor"),
    [
        ("bandit-6x6", 0.99),
        ("digits-32x32", 0.95),
        ("digits-conv", 0.95),
        ("digits-conv-dense", 0.94),
        ("digits-pool", 0.94),
    ],
)
def test_a_zoo_network_learns_its_task_and_gets_the_pinned_weights(key: str, floor: float) -> None:
    module = trained(ZOO[key], 0)
    assert accuracy(module, datasets.load(ZOO[key].dataset)) >= floor
    assert weights_sha256(module) == pinned(key, 0)


@pytest.mark.slow
def test_weights_do_not_depend_on_threads_or_on_torchs_state(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    first = weights_sha256(trained(QUICK, 3))
    for stored in cache.iterdir():
        stored.unlink()
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        torch.manual_seed(99)
        again = weights_sha256(trained(QUICK, 3))
    finally:
        torch.set_num_threads(threads)
    assert again == first
    assert weights_sha256(trained(QUICK, 4)) != first


def test_weights_are_multiples_of_the_step() -> None:
    for parameter in trained(QUICK, 0).parameters():
        assert parameter.dtype == torch.float32
        steps = parameter.detach().double() / WEIGHT_STEP
        assert torch.equal(steps, steps.round())


def test_torchs_state_is_put_back(cache: Path) -> None:
    before = torch.get_rng_state()
    threads = torch.get_num_threads()
    trained(QUICK, 0)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert torch.get_default_dtype() == torch.float32
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_second_call_reads_the_cache_and_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    first = trained(QUICK, 0)

    def not_again(*_: object) -> None:
        raise AssertionError("trained or loaded again")

    monkeypatch.setattr("salver.zoo.training.train", not_again)
    monkeypatch.setattr(zoo, "load", not_again)
    second = trained(QUICK, 0)
    assert weights_sha256(second) == weights_sha256(first)
    x = torch.rand(5, 64)
    assert torch.equal(first(x), second(x))


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["truncated", "empty", "other shape"])
def test_damaged_weights_are_trained_again(cache: Path, damage: str) -> None:
    first = weights_sha256(trained(QUICK, 0))
    (stored,) = cache.iterdir()
    content = stored.read_bytes()
    if damage == "other shape":
        np.savez(stored, **{**np.load(stored), "0.weight": np.zeros((2, 2), dtype=np.float32)})
    else:
        stored.write_bytes(content[: len(content) // 2] if damage == "truncated" else b"")
    assert weights_sha256(trained(QUICK, 0)) == first
    assert stored.read_bytes() == content


@pytest.mark.parametrize(
    "change", [{"epochs": 2}, {"architecture": (9,)}, {"learning_rate": 0.1}, {"weight_decay": 0.1}]
)
def test_the_cache_key_follows_everything_that_matters(change: dict[str, object]) -> None:
    keys = {
        zoo.weights_key(QUICK, 0),
        zoo.weights_key(QUICK, 1),
        zoo.weights_key(QUICK.model_copy(update=change), 0),
    }
    assert len(keys) == 3


def test_convolutional_networks_take_flattened_inputs_and_end_as_named() -> None:
    torch.manual_seed(0)
    small = zoo.build(ZOO["mnist-conv"], (1, 28, 28), 10)
    gap = zoo.build(ZOO["digits-gap"], (1, 8, 8), 10)
    assert small(torch.rand(3, 784)).shape == (3, 10)
    assert gap(torch.rand(3, 64)).shape == (3, 10)
    assert [type(layer) for layer in list(gap)[-3:]] == [nn.AdaptiveAvgPool2d, nn.Flatten, nn.Linear]


def test_a_convolution_over_features_is_refused() -> None:
    with pytest.raises(SalverError, match="needs images"):
        trained(NetSpec(dataset="bandit", architecture="conv_small"), 0)


def test_diverging_training_is_refused(cache: Path) -> None:
    with pytest.raises(SalverError, match="diverged"):
        trained(QUICK.model_copy(update={"learning_rate": 1e300}), 0)
    assert not cache.exists()


def test_every_zoo_entry_names_a_known_data_set_and_has_pins() -> None:
    pins = json.loads(zoo.PINS.read_text())
    assert {key.rpartition("/")[0] for key in pins} == set(ZOO)
    assert all(re.fullmatch("[0-9a-f]{64}", pin) for pin in pins.values())
    assert {spec.dataset for spec in ZOO.values()} <= set(datasets.NAMES)
    assert pinned("digits-32x32", 0) == pins["digits-32x32/0"]
    assert pinned("digits-32x32", 10**9) is None


def test_pins_are_made_from_the_whole_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo, "PINS", tmp_path / "pins.json")
    monkeypatch.setattr(zoo, "ZOO", {"quick": QUICK})
    zoo.write_pins([0, 5])
    assert pinned("quick", 5) == weights_sha256(trained(QUICK, 5))
    assert set(json.loads((tmp_path / "pins.json").read_text())) == {"quick/0", "quick/5"}
