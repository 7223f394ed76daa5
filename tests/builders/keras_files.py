"""Writes small Keras HDF5 files as Keras does, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Layer = tuple[str, dict[str, Any], dict[str, np.ndarray]]


def write_keras(path: Path, shape: tuple[int, ...], layers: list[Layer], kind: str = "Sequential") -> Path:
    """A file with layers of (class name, configuration, weights by short name)."""
    configs = [{"class_name": "InputLayer", "config": {"name": "in", "batch_input_shape": [None, *shape]}}]
    with h5py.File(path, "w") as file:
        groups = file.create_group("model_weights")
        for number, (name, config, weights) in enumerate(layers):
            own = f"layer{number}"
            configs.append({"class_name": name, "config": {"name": own, **config}})
            group = groups.create_group(own)
            group.attrs["weight_names"] = np.array([f"{own}/{key}:0" for key in weights], "S")
            for key, values in weights.items():
                group[f"{own}/{key}:0"] = values
        model = {"class_name": kind, "config": {"name": "model", "layers": configs}}
        file.attrs["model_config"] = json.dumps(model)
    return path


def conv(rng: np.random.Generator, inputs: int, filters: int, size: int = 3, **options: Any) -> Layer:
    config = {"filters": filters, "kernel_size": [size, size], "padding": "same", "activation": "relu"}
    weights = {
        "kernel": rng.normal(size=(size, size, inputs, filters)).astype(np.float32) / size,
        "bias": rng.normal(size=filters).astype(np.float32) / 5,
    }
    return ("Conv2D", config | options, weights)


def dense(rng: np.random.Generator, inputs: int, units: int, **options: Any) -> Layer:
    weights = {
        "kernel": rng.normal(size=(inputs, units)).astype(np.float32),
        "bias": rng.normal(size=units).astype(np.float32),
    }
    return ("Dense", {"units": units, "activation": "softmax"} | options, weights)


def gap_layers(seed: int, channels: int = 2, classes: int = 3) -> list[Layer]:
    """conv-ReLU-maximum pooling-conv-ReLU-global average pooling-dense."""
    rng = np.random.default_rng(seed)
    return [
        conv(rng, channels, 3),
        ("MaxPooling2D", {"pool_size": [2, 2], "strides": [2, 2], "padding": "valid"}, {}),
        ("Dropout", {"rate": 0.2}, {}),
        conv(rng, 3, 4),
        ("GlobalAveragePooling2D", {}, {}),
        dense(rng, 4, classes),
    ]
