"""The networks that suites are built on: small classifiers trained here from a record and a seed."""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Iterable
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from salver.core.errors import SalverError
from salver.core.files import write_atomically
from salver.core.records import Record
from salver.nets.torch_bridge import from_torch
from salver.zoo.datasets import cache_dir, fingerprint, load
from salver.zoo.regimes import Adversarial, Guided, Plain, R2et, Regime, Softplus

if TYPE_CHECKING:
    from torch import nn

Architecture = tuple[int, ...] | Literal["conv_small", "conv_gap", "conv_gap_deep", "conv_dense", "conv_pool"]
PINS = Path(__file__).with_name("pins.json")
TRAINING_CODE = 1


class NetSpec(Record):
    """A network to be trained: data, architecture, schedule and regime.

    `architecture` gives the widths of the hidden layers of a fully connected ReLU network, or names a
    convolutional one: `conv_small` is conv-ReLU-conv-ReLU-flatten-dense, `conv_gap` is
    conv8-ReLU-conv16-ReLU-global average pooling-dense (class activation maps need that ending),
    `conv_gap_deep` the same with a third convolution of 32 filters and strides of 2, 2 and 1,
    `conv_dense` is conv8-ReLU-flatten-dense16-ReLU-dense with a stride of 2, and `conv_pool` is
    conv4-ReLU-max pooling-flatten-dense16-ReLU-dense.
    """

    dataset: str
    architecture: Architecture
    epochs: int = Field(default=5, gt=0)
    batch_size: int = Field(default=128, gt=0)
    learning_rate: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    regime: Regime = Plain()


def small_net(dataset: str, architecture: Architecture) -> NetSpec:
    """The schedule of the networks on small sets (digits, breast_cancer): many passes, a second or two."""
    return NetSpec(
        dataset=dataset,
        architecture=architecture,
        epochs=40,
        batch_size=32,
        learning_rate=1e-2,
        weight_decay=1e-4,
    )


def mnist_net(architecture: Architecture, epochs: int = 5, dataset: str = "mnist") -> NetSpec:
    """The schedule of the networks on MNIST and on sets of its shape."""
    return NetSpec(dataset=dataset, architecture=architecture, epochs=epochs)


def table_net(dataset: str, architecture: Architecture) -> NetSpec:
    """The schedule of the networks on tables."""
    return NetSpec(dataset=dataset, architecture=architecture, epochs=10, batch_size=128)


def in_regimes(spec: NetSpec, adversarial_epsilon: float = 0.05, k: int = 8) -> dict[str, NetSpec]:
    """The same network in every other regime, by the suffix of its key in the zoo; `k` is R2ET's."""
    changes: dict[str, dict[str, object]] = {
        "wd": {"weight_decay": 3e-3},
        "softplus": {"regime": Softplus()},
        "guided": {"regime": Guided()},
        "r2et": {"regime": R2et(k=k)},
        "adv": {"regime": Adversarial(epsilon=adversarial_epsilon)},
    }
    return {suffix: spec.model_copy(update=change) for suffix, change in changes.items()}


ZOO: dict[str, NetSpec] = {
    "bandit-6x6": NetSpec(
        dataset="bandit", architecture=(6, 6), epochs=40, batch_size=32, learning_rate=1e-2
    ),
    "digits-16x16": small_net("digits", (16, 16)),
    "digits-32x32": small_net("digits", (32, 32)),
    "digits-64x64": small_net("digits", (64, 64)),
    "digits-128x128": small_net("digits", (128, 128)),
    "digits-256x256": small_net("digits", (256, 256)),
    "digits-32x32x32": small_net("digits", (32, 32, 32)),
    "digits-16x16x16x16": small_net("digits", (16, 16, 16, 16)),
    "digits-128x128x128x128": small_net("digits", (128, 128, 128, 128)),
    "digits-256x256x256x256": small_net("digits", (256, 256, 256, 256)),
    "digits-32x32x32x32x32x32": small_net("digits", (32, 32, 32, 32, 32, 32)),
    "digits-conv": small_net("digits", "conv_small"),
    "digits-gap": small_net("digits", "conv_gap"),
    "digits-conv-dense": small_net("digits", "conv_dense"),
    "digits-pool": small_net("digits", "conv_pool"),
    "mnist-32x32": mnist_net((32, 32)),
    "mnist-64x64": mnist_net((64, 64)),
    "mnist-128x128": mnist_net((128, 128)),
    "mnist-256x256": mnist_net((256, 256)),
    "mnist-conv": mnist_net("conv_small", epochs=3),
    "mnist-512x512": mnist_net((512, 512), epochs=3),
    "mnist-64x64x64x64": mnist_net((64, 64, 64, 64)),
    "mnist-32x32x32x32x32x32": mnist_net((32, 32, 32, 32, 32, 32)),
    "fashion-32x32": mnist_net((32, 32), dataset="fashion_mnist"),
    "fashion-128x128": mnist_net((128, 128), dataset="fashion_mnist"),
    "fashion-conv": mnist_net("conv_small", epochs=3, dataset="fashion_mnist"),
    "signs-gap": NetSpec(
        dataset="signs-synthetic-24",
        architecture="conv_gap_deep",
        epochs=50,
        batch_size=32,
        learning_rate=6e-3,
    ),
    "adult-32x32": table_net("adult", (32, 32)),
    "compas-32x32": table_net("compas", (32, 32)),
    **{
        f"digits-{name}-{suffix}": spec
        for name, widths in (("16x16", (16, 16)), ("32x32", (32, 32)))
        for suffix, spec in in_regimes(small_net("digits", widths)).items()
    },
    "breast-16x16": small_net("breast_cancer", (16, 16)),
    **{
        f"{key}-{suffix}": spec
        for key, plain in (
            ("adult-32x32", table_net("adult", (32, 32))),
            ("compas-32x32", table_net("compas", (32, 32))),
            ("breast-16x16", small_net("breast_cancer", (16, 16))),
        )
        for suffix, spec in in_regimes(plain, adversarial_epsilon=0.01).items()
    },
    **{
        f"mnist-32x32-{suffix}": spec
        for suffix, spec in in_regimes(mnist_net((32, 32)), k=50).items()
        if suffix in ("wd", "softplus", "r2et")
    },
}


def build(spec: NetSpec, input_shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """An untrained module from flattened inputs (N, n) to logits (N, classes), in torch's default dtype.

    Raises:
        SalverError: a convolutional architecture is asked for inputs that are not images.
    """
    from torch import nn

    if isinstance(spec.architecture, tuple):
        widths = (int(np.prod(input_shape)), *spec.architecture)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(widths[-1], classes))
    if len(input_shape) != 3:
        raise SalverError(
            f"{spec.architecture} needs images", f"data set {spec.dataset}", "give widths such as [32, 32]"
        )
    channels, height, width = input_shape
    if spec.architecture == "conv_small":
        flat = 8 * (height // 4) * (width // 4)
        ending: list[nn.Module] = [nn.Flatten(), nn.Linear(flat, classes)]
        body = [nn.Conv2d(channels, 8, 4, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 4, 2, 1), nn.ReLU()]
    elif spec.architecture == "conv_dense":
        flat = 8 * (height // 2) * (width // 2)
        ending = [nn.Flatten(), nn.Linear(flat, 16), nn.ReLU(), nn.Linear(16, classes)]
        body = [nn.Conv2d(channels, 8, 4, 2, 1), nn.ReLU()]
    elif spec.architecture == "conv_pool":
        flat = 4 * (height // 2) * (width // 2)
        ending = [nn.Flatten(), nn.Linear(flat, 16), nn.ReLU(), nn.Linear(16, classes)]
        body = [nn.Conv2d(channels, 4, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2)]
    elif spec.architecture == "conv_gap_deep":
        body = [nn.Conv2d(channels, 8, 4, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 4, 2, 1), nn.ReLU()]
        body += [nn.Conv2d(16, 32, 3, 1, 1), nn.ReLU()]
        ending = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, classes)]
    else:
        ending = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, classes)]
        body = [nn.Conv2d(channels, 8, 3, 1, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 1, 1), nn.ReLU()]
    return nn.Sequential(nn.Unflatten(1, input_shape), *body, *ending)


def trained(spec: NetSpec, seed: int, data_dir: Path | None = None) -> nn.Sequential:
    """The network of a record and seed: from the cache, or trained now and put there.

    Args:
        spec: an entry of `ZOO` or a record of your own.
        seed: of the initial weights and of the order of the rows.
        data_dir: the user's data folder, passed to `salver.zoo.datasets.load`.

    Returns:
        A float32 module in evaluation mode, from flattened inputs (N, n) to logits. Torch's threads,
        default dtype, determinism flag and random state are as before.

    Raises:
        SalverError: the data set is unknown or not on this machine, or training diverged.
    """
    import torch

    from salver.zoo.training import isolated_torch, train

    stored = cache_dir() / "weights" / f"{weights_key(spec, seed, data_dir)}.npz"
    with torch.random.fork_rng(devices=[]):
        cached = read_weights(spec, stored)
    if cached is not None:
        return cached
    dataset = load(spec.dataset, data_dir)
    with isolated_torch(seed):
        classes = len(dataset.classes)
        module = train(build(spec, dataset.input_shape, classes), dataset, spec, seed, spec.regime)
    write_atomically(stored, packed(module, dataset.input_shape, classes))
    return module


def weights_key(spec: NetSpec, seed: int, data_dir: Path | None = None) -> str:
    """Name of the weights in the cache: everything they depend on, hashed (20 hex digits).

    The plain regime is left out: its weights keep the name they had before there were regimes.
    """
    parts = [
        spec.model_dump_json(exclude={"regime"} if isinstance(spec.regime, Plain) else None),
        str(seed),
        fingerprint(spec.dataset, data_dir),
        str(TRAINING_CODE),
        version("torch").split("+")[0],
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:20]


def packed(module: nn.Sequential, input_shape: tuple[int, ...], classes: int) -> bytes:
    """The weights as an uncompressed .npz with all that `build` needs, so that no data is read again."""
    buffer = io.BytesIO()
    weights = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    np.savez(buffer, allow_pickle=False, input_shape=input_shape, classes=classes, **weights)
    return buffer.getvalue()


def read_weights(spec: NetSpec, path: Path) -> nn.Sequential | None:
    """The module stored by `packed`; None where there is none or it is damaged (and is trained again)."""
    import torch

    if not path.is_file():
        return None
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            state = {name: torch.from_numpy(arrays[name]) for name in arrays.files if "." in name}
            shape = tuple(int(side) for side in arrays["input_shape"])
            module = build(spec, shape, int(arrays["classes"])).float().eval()
        module.load_state_dict(state)
    except (OSError, EOFError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile):
        return None
    return module


def weights_sha256(module: nn.Sequential) -> str:
    """Hash of the network as it is written to ONNX: structure and float32 weights, not names."""
    from torch import nn

    first = module[0]
    if isinstance(first, nn.Unflatten):
        inputs = math.prod(int(size) for size in first.unflattened_size)
    else:
        assert isinstance(first, nn.Linear)
        inputs = first.in_features
    return from_torch(module, inputs).sha256()


def pinned(key: str, seed: int) -> str | None:
    """Hash of the weights that `ZOO[key]` got with this seed where the pins were made; None if not pinned."""
    pins: dict[str, str] = json.loads(PINS.read_text())
    return pins.get(f"{key}/{seed}")


def write_pins(seeds: Iterable[int], data_dir: Path | None = None) -> None:
    """Trains the whole zoo with the given seeds and makes the outcome the new pins.

    Raises:
        SalverError: a data set is not on this machine.
    """
    pins = {
        f"{key}/{seed}": weights_sha256(trained(spec, seed, data_dir))
        for key, spec in ZOO.items()
        for seed in seeds
    }
    write_atomically(PINS, (json.dumps(pins, indent=2) + "\n").encode())
