"""Pools, convolutions, pads, enlargements and moves mean what they mean in ONNX Runtime and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from salver.core.errors import SalverError
from salver.nets.network import evaluate
from salver.nets.onnx.reader import from_model
from salver.nets.operators import Linear, Pick
from salver.nets.torch_export import read_module
from tests.builders.torch_twins import Step, check_twin, model_of_steps, read_as_the_runtime

DRAWN = np.random.default_rng(0)


def weights(*shape: int) -> Any:
    return DRAWN.integers(-3, 4, shape).astype(np.float32)


def exact(value: Any) -> Any:
    return torch.tensor(value, dtype=torch.float64)


def one(kind: str, given: str = "X", **attributes: Any) -> list[Step]:
    return [(kind, given, "Y", attributes)]


POOLS = [
    (4, 2, 2, 0, 1, 0),
    (5, 3, 2, 1, 1, 0),
    (6, 3, 2, 0, 1, 1),
    (7, 3, 1, 1, 2, 0),
    (6, 5, 1, 2, 1, 0),
    (7, 3, 2, 1, 1, 1),
]


@pytest.mark.slow
@pytest.mark.parametrize(("size", "kernel", "stride", "pad", "dilation", "ceil"), POOLS)
def test_the_first_place_of_a_maximum_has_the_derivative(size, kernel, stride, pad, dilation, ceil):
    steps = one(
        "MaxPool", kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4, dilations=[dilation] * 2,
        ceil_mode=ceil,
    )  # fmt: skip
    shape = (1, 2, size, size)
    check_twin(
        model_of_steps(steps, shape),
        lambda x: functional.max_pool2d(x, kernel, stride, pad, dilation, bool(ceil)),
        shape,
    )


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pad", "dilation", "ceil"), [p for p in POOLS if p[4] == 1]
)
@pytest.mark.parametrize("padded", [0, 1])
def test_an_average_counts_what_pytorch_counts(size, kernel, stride, pad, dilation, ceil, padded):
    steps = one(
        "AveragePool", kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4, ceil_mode=ceil,
        count_include_pad=padded,
    )  # fmt: skip
    shape = (1, 2, size, size)
    model = model_of_steps(steps, shape, opset=22)  # before, inference lets a window begin in the padding
    check_twin(
        model,
        lambda x: functional.avg_pool2d(x, kernel, stride, pad, bool(ceil), bool(padded)),
        shape,
        on_kinks=False,
    )


@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool", "ConvTranspose"])
@pytest.mark.parametrize("automatic", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_automatic_pads_are_those_of_the_runtime(kind, automatic):
    options = {} if kind == "ConvTranspose" else {"kernel_shape": [3, 2]}
    given, constants = ("X w", {"w": weights(2, 3, 3, 3)}) if kind == "ConvTranspose" else ("X", {})
    shape = (1, 2, 6, 5)
    model = model_of_steps(one(kind, given, strides=[2, 2], auto_pad=automatic, **options), shape, constants)
    read_as_the_runtime(model, shape)


SIGNALS: dict[str, tuple[list[Step], Any]] = {
    "MaxPool": (
        one("MaxPool", kernel_shape=[3], strides=[2], pads=[1, 1]),
        lambda x: functional.max_pool1d(x, 3, 2, 1),
    ),
    "AveragePool": (one("AveragePool", kernel_shape=[4], strides=[4]), lambda x: functional.avg_pool1d(x, 4)),
    "GlobalMaxPool": (one("GlobalMaxPool"), lambda x: functional.max_pool1d(x, 8)),
    "GlobalAveragePool": (one("GlobalAveragePool"), lambda x: x.mean(2)),
    "Pad": (
        [("Pad", "X p", "q", {}), *one("Relu", "q")],
        lambda x: functional.relu(functional.pad(x, (1, 2))),
    ),
}


@pytest.mark.parametrize("name", SIGNALS)
def test_signals_are_images_of_one_row(name):
    steps, twin = SIGNALS[name]
    constants = {"p": np.array([0, 0, 1, 0, 0, 2])} if name == "Pad" else {}
    check_twin(model_of_steps(steps, (1, 2, 8), constants), twin, (1, 2, 8))


@pytest.mark.parametrize("size", [3, 5])
def test_the_largest_of_a_whole_image(size):
    shape = (1, 2, size, size)
    check_twin(model_of_steps(one("GlobalMaxPool"), shape), lambda x: functional.max_pool2d(x, size), shape)


@pytest.mark.parametrize(
    ("stride", "pad", "more", "dilation"),
    [(1, 0, 0, 1), (2, 1, 1, 1), (3, 1, 2, 1), (2, 0, 1, 2), (3, 2, 0, 1), (2, 0, 0, 2)],
)
def test_transposed_convolutions(stride, pad, more, dilation):
    groups = 1 + dilation % 2
    weight, bias, shape = weights(2, 2, 3, 3), weights(2 * groups), (1, 2, 3, 4)
    options = {"strides": [stride] * 2, "pads": [pad] * 4, "output_padding": [more] * 2}
    steps = one("ConvTranspose", "X w b", dilations=[dilation] * 2, group=groups, **options)
    check_twin(
        model_of_steps(steps, shape, {"w": weight, "b": bias}),
        lambda x: functional.conv_transpose2d(
            x, exact(weight), exact(bias), stride, pad, more, groups, dilation
        ),
        shape,
    )


@pytest.mark.parametrize(
    ("stride", "dilation", "size"), [(2, 2, 8), (3, 2, 9), (2, 3, 9), (3, 3, 8), (5, 2, 8)]
)
def test_rows_that_a_stride_leaves_unread(stride, dilation, size):
    weight, shape = weights(3, 2, 2, 2), (1, 2, size, size)
    steps = one("Conv", "X w", strides=[stride] * 2, dilations=[dilation] * 2)
    twin = lambda x: functional.conv2d(x, exact(weight), None, stride, 0, dilation)  # noqa: E731
    check_twin(model_of_steps(steps, shape, {"w": weight}), twin, shape)


IMAGE = (1, 2, 4, 4)
AROUND = np.array([0, 0, 1, 0, 0, 0, 1, 2])
MOVES: dict[str, tuple[list[Step], dict[str, Any], Any]] = {
    "zeros around": (one("Pad", "X p"), {"p": AROUND}, lambda x: functional.pad(x, (0, 2, 1, 1))),
    "numbers around": (
        one("Pad", "X p v"),
        {"p": AROUND, "v": 0.5},
        lambda x: functional.pad(x, (0, 2, 1, 1), value=0.5),
    ),
    "reflected": (
        one("Pad", "X p", mode="reflect"),
        {"p": AROUND},
        lambda x: functional.pad(x, (0, 2, 1, 1), "reflect"),
    ),
    "continued": (
        one("Pad", "X p", mode="edge"),
        {"p": AROUND},
        lambda x: functional.pad(x, (0, 2, 1, 1), "replicate"),
    ),
    "cut off": (
        one("Pad", "X p"),
        {"p": np.array([0, 0, -1, 0, 0, 0, 1, 2])},
        lambda x: functional.pad(x, (0, 2, -1, 1)),
    ),
    "channels of zeros": (
        one("Pad", "X p"),
        {"p": np.array([0, 1, 0, 0, 0, 2, 0, 0])},
        lambda x: functional.pad(x, (0, 0, 0, 0, 1, 2)),
    ),
    "nothing around": (one("Pad", "X p"), {"p": AROUND * 0}, lambda x: x),
    "padded for a convolution": (
        [("Pad", "X p", "q", {}), *one("Conv", "q w", strides=[2, 2], pads=[1, 0, 0, 1])],
        {"p": AROUND, "w": (PADDED := weights(3, 2, 2, 2))},
        lambda x: functional.conv2d(functional.pad(x, (0, 3, 2, 1)), exact(PADDED), None, 2),
    ),
    "enlarged": (
        one("Resize", "X - s", mode="nearest"),
        {"s": [1.0, 1.0, 2.0, 3.0]},
        lambda x: functional.interpolate(x, scale_factor=(2, 3)),
    ),
    "enlarged by a half": (
        one(
            "Resize",
            "X - s",
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
        {"s": [1.0, 1.0, 1.5, 1.5]},
        lambda x: functional.interpolate(x, scale_factor=1.5),
    ),
    "transposed": (one("Transpose", perm=[0, 2, 3, 1]), {}, lambda x: x.permute(0, 2, 3, 1)),
    "blocks become channels": (
        one("SpaceToDepth", blocksize=2),
        {},
        lambda x: x.reshape(-1, 2, 2, 2, 2, 2).permute(0, 3, 5, 1, 2, 4),
    ),
    "sliced": (
        one("Slice", "X a b c d"),
        {"a": np.array([1, 0]), "b": np.array([2, 9]), "c": np.array([1, 3]), "d": np.array([1, 2])},
        lambda x: x[:, 1:2, :, ::2],
    ),
    "turned round": (
        one("Slice", "X a b c a"),
        {"a": np.array([-1]), "b": np.array([-99]), "c": np.array([3])},
        lambda x: x.flip(3),
    ),
    "copied": (one("Tile", "X r"), {"r": np.array([1, 1, 2, 1])}, lambda x: x.repeat(1, 1, 2, 1)),
    "copied often": (one("Tile", "X r"), {"r": np.array([1, 1, 1, 20])}, lambda x: x.repeat(1, 1, 1, 20)),
    "joined along the width": (
        [("Relu", "X", "r", {}), ("Concat", "X r", "c", {"axis": 3}), *one("Relu", "c")],
        {},
        lambda x: functional.relu(torch.cat([x, functional.relu(x)], 3)),
    ),
}


@pytest.mark.parametrize("name", MOVES)
def test_entries_are_moved_as_in_pytorch(name):
    steps, constants, twin = MOVES[name]
    check_twin(model_of_steps(steps, IMAGE, constants), twin, IMAGE)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_channels_become_blocks(mode):
    def twin(x: Any) -> Any:
        if mode == "CRD":
            return functional.pixel_shuffle(x, 2)
        return x.reshape(-1, 2, 2, 2, 2, 3).permute(0, 3, 4, 1, 5, 2)

    check_twin(model_of_steps(one("DepthToSpace", blocksize=2, mode=mode), (1, 8, 2, 3)), twin, (1, 8, 2, 3))


@pytest.mark.parametrize("way", ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"])
@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
def test_the_nearest_entry_is_that_of_the_runtime(way, rounding):
    steps = one("Resize", "X - s", mode="nearest", coordinate_transformation_mode=way, nearest_mode=rounding)
    read_as_the_runtime(model_of_steps(steps, (1, 1, 3, 6), {"s": [1.0, 1.0, 2.0, 0.5]}), (1, 1, 3, 6))


@pytest.mark.parametrize(
    ("opset", "given", "options"), [(9, "X s", {}), (7, "X", {"scales": [1.0, 1.0, 2.0, 3.0]})]
)
def test_upsample_is_an_older_name(opset, given, options):
    model = model_of_steps(one("Upsample", given, **options), IMAGE, {"s": [1.0, 1.0, 2.0, 3.0]}, opset)
    check_twin(model, lambda x: functional.interpolate(x, scale_factor=(2, 3)), IMAGE)


A = weights(6, 3)
CUBE = weights(2, 3, 4)
TALL = weights(20, 10)
TO = {"to": np.array([2, 3]), "turned": np.array([3, 2])}
FACTORS: dict[str, tuple[list[Step], dict[str, Any], tuple[int, ...], Any]] = {
    "C is one number": (
        one("Gemm", "X A c", alpha=0.5, beta=2.0),
        {"c": 2.0},
        (1, 6),
        lambda x: x @ exact(A) / 2 + 4,
    ),
    "C is one number in a matrix": (one("Gemm", "X A c"), {"c": [[2.0]]}, (1, 6), lambda x: x @ exact(A) + 2),
    "C is a column": (
        [("Reshape", "X to", "q", {}), *one("Gemm", "q B c")],
        {"c": [[1.0], [2.0]], "B": A[:3]},
        (1, 6),
        lambda x: x.reshape(-1, 2, 3) @ exact(A[:3]) + exact([[1.0], [2.0]]),
    ),
    "C varies": (
        [("Slice", "X z h o", "r", {}), *one("Gemm", "X A r", beta=0.5)],
        {"z": np.array([0]), "h": np.array([3]), "o": np.array([1])},
        (1, 6),
        lambda x: x @ exact(A) + x[:, :3] / 2,
    ),
    "A turned": (
        [("Reshape", "X to", "q", {}), *one("Gemm", "q B", transA=1)],
        {"B": A[:2]},
        (1, 6),
        lambda x: x.reshape(-1, 2, 3).mT @ exact(A[:2]),
    ),
    "B varies, both turned": (
        [("Reshape", "X turned", "q", {}), *one("Gemm", "B q c", transA=1, transB=1)],
        {"B": A[:2], "c": [1.0, 2.0, 3.0]},
        (1, 6),
        lambda x: exact(A[:2]).T @ x.reshape(-1, 3, 2).mT + exact([1.0, 2.0, 3.0]),
    ),
    "a vector behind": (one("MatMul", "X v"), {"v": A[:, 0]}, (1, 6), lambda x: x @ exact(A[:, 0])),
    "a vector before": (one("MatMul", "v X"), {"v": A[:3, 0]}, (1, 3, 2), lambda x: exact(A[:3, 0]) @ x),
    "a matrix for each of several": (
        one("MatMul", "X K"),
        {"K": CUBE},
        (1, 2, 5, 3),
        lambda x: x @ exact(CUBE),
    ),
    "several matrices for one": (
        one("MatMul", "X K"),
        {"K": CUBE},
        (1, 5, 3),
        lambda x: x[:, None] @ exact(CUBE),
    ),
    "one matrix of rank 3": (one("MatMul", "X K"), {"K": CUBE[:1]}, (1, 5, 3), lambda x: x @ exact(CUBE[0])),
    "many rows": (one("MatMul", "X T"), {"T": TALL}, (1, 30, 20), lambda x: x @ exact(TALL)),
    "many columns": (one("MatMul", "T X"), {"T": TALL}, (1, 10, 40), lambda x: exact(TALL) @ x),
}


@pytest.mark.parametrize("name", FACTORS)
def test_matrices_in_all_forms(name):
    steps, constants, shape, twin = FACTORS[name]
    used = {n for step in steps for n in step[1].split()}
    given = {k: v for k, v in {**TO, "A": A, **constants}.items() if k in used}
    check_twin(model_of_steps(steps, shape, given), twin, shape)


def test_large_sums_are_convolutions():
    check_twin(
        model_of_steps(one("ReduceSum", "X a"), (1, 30, 50, 2), {"a": np.array([2])}),
        lambda x: x.sum(2), (1, 30, 50, 2),
    )  # fmt: skip
    model = model_of_steps(one("ReduceMean", axes=[1], keepdims=0), (1, 30, 50))
    check_twin(model, lambda x: x.mean(1), (1, 30, 50), on_kinks=False)


def test_one_scale_for_every_entry():
    options = {"a": DRAWN.normal(size=(2, 2, 2)).astype(np.float32), "v": np.full((2, 2, 2), 2.0, np.float32)}
    steps = one("BatchNormalization", "X a a a v", spatial=0)
    read_as_the_runtime(model_of_steps(steps, (1, 2, 2, 2), options, opset=8), (1, 2, 2, 2))


def test_dropout_that_is_off():
    constants = {"r": 0.5, "t": np.bool_(False)}
    model = model_of_steps([("Dropout", "X r t", "Y mask", {})], (1, 6), constants)
    check_twin(model, lambda x: x, (1, 6))


def test_an_empty_part_of_a_split():
    steps: list[Step] = [("Split", "X n", "a b c", {"axis": 1}), *one("Concat", "b a", axis=1)]
    model = model_of_steps(steps, (1, 6), {"n": np.array([2, 4, 0])})
    check_twin(model, lambda x: torch.cat([x[:, 2:], x[:, :2]], 1), (1, 6))


def test_what_moves_is_an_index_and_no_matrix():
    steps: list[Step] = [
        ("Transpose", "X", "t", {"perm": [0, 2, 3, 1]}),
        ("Pad", "t p", "q", {}),
        ("Slice", "q a b c", "s", {}),
        *one("MaxPool", "s", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    ]
    constants = {
        "p": np.array([0, 1, 0, 0, 0, 1, 0, 0]),
        "a": np.array([2]),
        "b": np.array([90]),
        "c": np.array([1]),
    }
    network = from_model(model_of_steps(steps, (1, 16, 100, 100), constants))
    assert not any(isinstance(node.operator, Linear) for node in network.nodes)
    assert sum(isinstance(node.operator, Pick) for node in network.nodes) == 1, "a pick of a pick is one"


@pytest.mark.parametrize(
    ("kind", "opset", "options", "what"),
    [
        (
            "AveragePool", 18, {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1},
            "before operator set 19",
        ),
        ("AveragePool", 18, {"kernel_shape": [1, 6], "strides": [1, 6]}, "before operator set 19"),
        (
            "AveragePool", 19, {"kernel_shape": [3, 3], "strides": [3, 3], "pads": [1] * 4, "ceil_mode": 1},
            "with a window that begins behind the image",
        ),
        ("ConvTranspose", 18, {"output_padding": [0, 1]}, "output_padding .* not below its strides"),
        (
            "ConvTranspose", 18, {"output_padding": [1, 1], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
            "both auto_pad and output_padding",
        ),
        ("ConvTranspose", 18, {"output_shape": [7, 6]}, "beyond what its windows reach"),
        (
            "AveragePool", 19, {"kernel_shape": [2, 2], "dilations": [2, 2], "auto_pad": "SAME_LOWER"},
            "both auto_pad and dilations",
        ),
        (
            "MaxPool", 18, {"kernel_shape": [2, 2], "dilations": [2, 2], "auto_pad": "SAME_UPPER"},
            "both auto_pad and dilations",
        ),
        (
            "MaxPool", 18, {"kernel_shape": [1, 1], "strides": [5, 5], "auto_pad": "SAME_UPPER"},
            "windows that leave rows unread",
        ),
        ("Pad", 10, {"mode": "wrap", "pads": [0, 0, 0, -1, 0, 0, 0, 1]}, "negative or longer"),
        ("Pad", 10, {"mode": "wrap", "pads": [0, 0, 6, 0, 0, 0, 0, 0]}, "negative or longer than their axis"),
    ],
)  # fmt: skip
def test_what_the_runtime_makes_otherwise_than_the_standard_is_refused(kind, opset, options, what):
    """One meaning: a file whose values depend on who runs it has none."""
    counted = {"count_include_pad": 1} if kind == "AveragePool" else {}
    weight = {"w": np.ones((1, 1, 2, 2), np.float32)} if kind == "ConvTranspose" else {}
    given, made = " ".join(["X", *weight]), {**options, **counted}
    steps = one(kind, given, **made)
    with pytest.raises(SalverError, match=what):
        from_model(model_of_steps(steps, (1, 1, 5, 5), weight, opset=opset))


@pytest.mark.parametrize("size", [4, 5])
@pytest.mark.parametrize("automatic", ["SAME_UPPER", "SAME_LOWER"])
def test_pools_of_one_entry_skip_rows_as_the_runtime_does(size, automatic):
    steps = one("MaxPool", kernel_shape=[1, 1], strides=[2, 2], auto_pad=automatic)
    read_as_the_runtime(model_of_steps(steps, (1, 1, size, size)), (1, 1, size, size))


def test_averages_before_operator_set_19_that_stay_inside_the_padding_are_read():
    steps = one("AveragePool", kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 1, 1], count_include_pad=1)
    read_as_the_runtime(model_of_steps(steps, (1, 1, 5, 5), opset=18), (1, 1, 5, 5))


@pytest.mark.parametrize("factor", [0.6, 0.75, 0.5, 1.5])
def test_resizing_of_operator_set_10_takes_the_entries_that_the_runtime_takes(factor):
    steps = one("Resize", "X scales", mode="nearest")
    scales = {"scales": np.array([1, 1, factor, factor], np.float32)}
    read_as_the_runtime(model_of_steps(steps, (1, 1, 8, 8), scales, opset=10), (1, 1, 8, 8))


@pytest.mark.parametrize("way", ["asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"])
@pytest.mark.parametrize(("size", "factor"), [(4, 0.6), (7, 1.1), (10, 0.7), (3, 3.3)])
def test_coordinates_of_resizing_round_as_in_the_runtime(way, size, factor):
    """Single precision decides on which side of a whole number a coordinate lies; no new size is a copy."""
    shape = (1, 1, 1, size)
    for nearest in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"):
        options = {"mode": "nearest", "coordinate_transformation_mode": way, "nearest_mode": nearest}
        scales = {"scales": np.array([1, 1, 1, factor], np.float32)}
        model = model_of_steps(one("Resize", "X - scales", **options), shape, scales)
        read_as_the_runtime(model, shape)


def test_a_module_averages_as_pytorch_does_at_its_edges():
    module = torch.nn.Sequential(torch.nn.AvgPool2d(2, 2, ceil_mode=True), torch.nn.Flatten())
    x = torch.arange(25.0).reshape(1, 1, 5, 5)
    network = read_module(module, x).network
    assert np.allclose(evaluate(network, x.reshape(1, -1).numpy()), module(x).numpy())
