"""Which tensor of a file is explained: the named output, without what closes it, for one row of a batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from salver.core.errors import SalverError
from salver.explain.checked import classifier_of
from salver.nets.classifier import read_classifier
from salver.nets.network import evaluate
from tests.builders.onnx_models import FLOAT, model_of

RNG = np.random.default_rng(0)
W = RNG.normal(size=(4, 3)).astype(np.float32)
IMAGE = RNG.normal(size=(3, 2, 3, 3)).astype(np.float32)
DENSE = RNG.normal(size=(12, 2)).astype(np.float32)


def stored(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def closing(
    kind: str, opset: int = 13, shape: tuple[Any, ...] = (1, 4), **attributes: Any
) -> onnx.ModelProto:
    gated = [("MatMul", ["X", "W"], {}), ("Relu", ["t0"], {}), (kind, ["t1"], attributes)]
    return model_of(*gated, constants={"W": W}, shape=shape, opset=opset)


@pytest.mark.parametrize("opset", [11, 13])
@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax", "Sigmoid"])
def test_what_closes_a_classifier_is_left_out_and_said(kind: str, opset: int, tmp_path: Path) -> None:
    attributes = {} if kind == "Sigmoid" else {"axis": 1}
    found = classifier_of(stored(closing(kind, opset, **attributes), tmp_path))
    assert found.closing == kind
    assert f"the closing {kind} is left out" in found.notes[0]
    x = RNG.normal(size=(5, 4))
    assert np.allclose(evaluate(found.network, x), np.maximum(x @ W, 0))


def test_a_softmax_over_anything_but_the_classes_stays(tmp_path: Path) -> None:
    with pytest.raises(SalverError, match="operator Softmax is not supported by salver"):
        read_classifier(stored(closing("Softmax", axis=0), tmp_path))


def two_outputs(folder: Path) -> Path:
    model = closing("ArgMax", axis=1)
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    model.graph.node.append(helper.make_node("Softmax", ["t1"], ["scores"], axis=1))
    model.graph.output.append(helper.make_tensor_value_info("scores", FLOAT, None))
    return stored(model, folder)


def test_one_of_several_outputs_is_named(tmp_path: Path) -> None:
    path = two_outputs(tmp_path)
    with pytest.raises(SalverError, match=r"2 outputs \('Y', 'scores'\); .*`--output-name scores`"):
        read_classifier(path)
    assert read_classifier(path, "scores").closing == "Softmax"
    assert read_classifier(path, "t1").closing is None
    with pytest.raises(SalverError, match=r"no output 'score'; did you mean scores\?"):
        read_classifier(path, "score")


def learnt(kind: str) -> tuple[Any, np.ndarray, str]:
    """A model of scikit-learn, its inputs, and what gives its scores."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = (3 * np.random.default_rng(0).normal(size=(40, 4)) + 1).astype(np.float32)
    options = {"hidden_layer_sizes": (6, 5), "max_iter": 20, "random_state": 0}
    if kind == "regressor":
        return MLPRegressor(**options).fit(x, x[:, :2]), x, "predict"
    y = x.argmax(1) if kind != "two classes" else (x[:, 0] > 1).astype(int)
    network = MLPClassifier(**options)
    model = make_pipeline(StandardScaler(), network) if kind == "scaled" else network
    return model.fit(x, y), x, "predict_proba"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("zipmap", [True, False])
@pytest.mark.parametrize("kind", ["classifier", "two classes", "scaled", "regressor"])
def test_models_of_scikit_learn_are_read(kind: str, zipmap: bool, tmp_path: Path) -> None:
    exporter = pytest.importorskip("skl2onnx")
    model, x, scores = learnt(kind)
    options = {} if kind == "regressor" else {id(model): {"zipmap": zipmap}}
    path = stored(exporter.to_onnx(model, x[:1], options=options), tmp_path)
    if kind == "regressor":
        found = classifier_of(path)
    else:
        name = "output_probability" if zipmap else "probabilities"
        with pytest.raises(SalverError, match=f"`--output-name {name}`"):
            classifier_of(path)
        found = classifier_of(path, output=name)
    made = torch.from_numpy(evaluate(found.network, x))
    made = made if found.closing is None else made.softmax(1)
    assert np.allclose(made, getattr(model, scores)(x), atol=1e-5)


def convolutional(rows: int, *, reshape: list[int] | None = None) -> onnx.ModelProto:
    constants = {"K": IMAGE, "to": np.array(reshape or [rows, 12], np.int64), "D": DENSE}
    return model_of(
        ("Conv", ["X", "K"], {}), ("Relu", ["t0"], {}), ("Reshape", ["t1", "to"], {}),
        ("MatMul", ["t2", "D"], {}),
        constants=constants, shape=(rows, 2, 4, 4),
    )  # fmt: skip


@pytest.mark.parametrize("reshape", [[5, 12], [5, -1], [-1, 12], [0, -1]])
def test_one_row_of_a_fixed_batch_is_read(reshape: list[int], tmp_path: Path) -> None:
    several = classifier_of(stored(convolutional(5, reshape=reshape), tmp_path))
    one = read_classifier(stored(convolutional(1), tmp_path))
    assert several.network.sha256() == one.network.sha256()
    assert "a batch of 5 is read as one row" in several.notes[0]


MIXING: dict[str, tuple[Any, ...]] = {
    "a sum over the rows": (("ReduceSum", ["X", "first"], {"keepdims": 1}), ("Add", ["X", "t0"], {})),
    "a constant for each row": (("Add", ["X", "rows"], {}),),
    "rows next to each other": (("Reshape", ["X", "flat"], {}), ("Reshape", ["t0", "back"], {})),
    "one row alone": (("Slice", ["X", "zero", "one", "zero"], {}),),
    "rows and columns swapped": (("Transpose", ["X"], {"perm": [1, 0]}),),
    "rows as a matrix": (("MatMul", ["square", "X"], {}),),
    "rows flattened": (("Flatten", ["X"], {"axis": 0}),),
}  # fmt: skip


@pytest.mark.parametrize("nodes", MIXING.values(), ids=MIXING.keys())
def test_rows_that_see_each_other_are_refused(nodes: tuple[Any, ...], tmp_path: Path) -> None:
    constants = {
        "first": np.array([0], np.int64), "zero": np.array([0], np.int64), "one": np.array([1], np.int64),
        "flat": np.array([1, 16], np.int64), "back": np.array([4, 4], np.int64),
        "rows": RNG.normal(size=(4, 4)).astype(np.float32),
        "square": RNG.normal(size=(4, 4)).astype(np.float32),
    }  # fmt: skip
    read = {name for _, inputs, _ in nodes for name in inputs}
    model = model_of(
        *nodes, constants={n: v for n, v in constants.items() if n in read}, shape=(4, 4), opset=13
    )
    with pytest.raises(SalverError, match=r"in a batch fixed to 4|not supported"):
        read_classifier(stored(model, tmp_path))
