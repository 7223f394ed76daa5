"""Writes the models of this folder with Keras itself, and what Keras computes with them.

    pip install keras && KERAS_BACKEND=torch python tests/golden/keras/write.py

Weights and inputs are drawn from seeds. The archives are compressed, which Keras does not do but reads; the
one HDF5 file is compressed as a whole.
"""

from __future__ import annotations

import gzip
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers as L  # noqa: N812 - as in Keras's own documents

FOLDER = Path(__file__).parent


def sequence(shape: tuple[int, ...], *layers: Any) -> Any:
    return keras.Sequential([keras.Input(shape), *layers])


def residual() -> Any:
    """A functional model with a residual connection, two models in it, and a layer that is called twice."""
    given = keras.Input((6, 5, 2))
    x = L.Conv2D(3, 3, padding="same", activation="relu")(given)
    y = L.BatchNormalization()(L.Conv2D(3, 3, padding="same", use_bias=False)(x))
    x = L.ReLU()(L.Add()([x, y]))
    inner = keras.Sequential(
        [keras.Input((6, 5, 3)), L.SeparableConv2D(4, 3), L.ReLU(6.0)], name="inner_part"
    )
    x = L.GlobalAveragePooling2D()(inner(x))
    twice = L.Dense(4, activation="relu")
    x, start = twice(twice(x)), keras.Input((4,))
    x = L.Concatenate()([keras.Model(start, L.Dense(4)(start))(x), x])
    return keras.Model(given, L.Dense(3, activation="softmax")(x))


def merged() -> Any:
    given = keras.Input((4, 4, 2))
    a, b = L.Conv2D(2, 3, padding="same")(given), L.Conv2D(2, 1)(given)
    parts = [L.Maximum()([a, b]), L.Minimum()([a, b]), L.Average()([a, b, given]), L.Subtract()([a, b])]
    x = L.Concatenate()(parts)
    x = L.Concatenate(axis=1)([x, L.Cropping2D(((1, 0), (0, 0)))(x)])
    x = L.AveragePooling2D(2)(L.UpSampling2D(2)(x))
    x = L.Add()([x, L.Activation("relu")(L.Conv2D(8, 1)(x))])
    return keras.Model(given, L.Dense(3)(L.Flatten()(L.GlobalMaxPooling2D(keepdims=True)(x))))


MODELS: dict[str, Callable[[], Any]] = {
    "residual": residual,
    "merged": merged,
    "signal": lambda: sequence(
        (8, 2), L.Conv1D(3, 3, padding="causal", activation="relu"), L.MaxPooling1D(2),
        L.Conv1D(2, 2, strides=2), L.LeakyReLU(0.2), L.Flatten(), L.Dense(3),
    ),
    "mobile": lambda: sequence(
        (7, 8, 2), L.Rescaling(1 / 127.5, offset=-1), L.ZeroPadding2D(((0, 1), (0, 1))),
        L.Conv2D(3, 3, strides=2, use_bias=False), L.BatchNormalization(), L.ReLU(6.0),
        L.DepthwiseConv2D(3, padding="same", depth_multiplier=2), L.ReLU(),
        L.MaxPooling2D(3, 1, padding="same"), L.AveragePooling2D(2, padding="same"), L.GlobalMaxPooling2D(),
        L.Dense(3, activation="sigmoid"),
    ),
    "flat": lambda: sequence(
        (5, 4, 3), L.Conv2D(2, 3, strides=(2, 1), padding="same"), L.Flatten(), L.BatchNormalization(),
        L.Dense(5, activation="relu"), L.Dropout(0.5), L.Dense(2), L.Softmax(),
    ),
    "reshape": lambda: sequence(
        (12,), L.Reshape((3, 2, 2)), L.Permute((2, 1, 3)), L.Conv2D(3, 2, activation="leaky_relu"),
        L.Dense(2), L.PReLU(shared_axes=[1, 2]), L.Reshape((-1,)), L.Dense(3),
    ),
    "axis": lambda: sequence(
        (4, 4, 1), L.Conv2D(4, 1), L.BatchNormalization(axis=1), L.Normalization(mean=0.5, variance=4.0),
        L.Flatten(), L.Dense(2),
    ),
}  # fmt: skip


def drawn(rng: np.random.Generator, variable: Any) -> Any:
    """Weights in the range of trained ones; a variance is positive, a slope of a PReLU is between 0 and 1."""
    if variable.path.endswith(("variance", "alpha")):
        return rng.uniform(0.2, 0.9, variable.shape)
    return rng.normal(size=variable.shape) * 0.7


def main() -> None:
    """Writes every model, and inputs with Keras's outputs."""
    values = {}
    for name, make in MODELS.items():
        keras.utils.clear_session()
        model, rng = make(), np.random.default_rng(sum(map(ord, name)))
        model.set_weights([drawn(rng, variable).astype(np.float32) for variable in model.weights])
        x = rng.normal(size=(3, *model.input_shape[1:])).astype(np.float32)
        values |= {f"{name}_x": x, f"{name}_y": np.asarray(model.predict(x, verbose=0))}
        with tempfile.TemporaryDirectory() as scratch:
            stored = Path(scratch) / f"{name}.keras"
            model.save(stored)
            with zipfile.ZipFile(stored) as plain, zipfile.ZipFile(
                FOLDER / f"{name}.keras", "w", zipfile.ZIP_DEFLATED, compresslevel=9
            ) as packed:  # fmt: skip
                for member in plain.namelist():
                    packed.writestr(member, plain.read(member))
            if name == "residual":
                old = Path(scratch) / f"{name}.h5"
                model.save(old)
                (FOLDER / f"{name}.h5.gz").write_bytes(gzip.compress(old.read_bytes(), mtime=0))
    np.savez_compressed(FOLDER / "values.npz", **values)


if __name__ == "__main__":
    main()
