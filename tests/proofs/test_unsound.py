"""Proofs of wrong statements, each of which some checker could take for right."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from experiments.soundness.stated import file_of, graph_of
from salver.nets import network as nets
from salver.nets import operators as ops
from salver.proofs.checker import check
from salver.proofs.onnx_file import UnsupportedNetworkError
from salver.proofs.row_sum import RejectedError
from salver.proofs.vnnlib_file import ExactProperty
from salver.solvers.proving.statement import exact
from salver.spec import Atom, Property


def _linear(weight: list[list[float]], bias: list[float]) -> ops.Linear:
    return ops.Linear(np.array(weight, np.float32), np.array(bias, np.float32))


def _gated(z: str = "z") -> nets.Network:
    """p = 1[x0 > 0] * x1 and Relu(p)."""
    return nets.Network(
        "X",
        2,
        (
            ops.Node(z, _linear([[1, 0]], [0]), ("X",), (1,)),
            ops.Node("v", _linear([[0, 1]], [0]), ("X",), (1,)),
            ops.Node("s", ops.Sign(), (z,), (1,)),
            ops.Node("m", ops.Relu(), ("s",), (1,)),
            ops.Node("p", ops.Mul(), ("m", "v"), (1,)),
            ops.Node("r", ops.Relu(), ("p",), (1,)),
            ops.Node("y", ops.Concat(), ("p", "r"), (2,)),
        ),
        "y",
    )


def _asks(*atoms: Atom, low: tuple[float, float] = (0.5, -1.0)) -> ExactProperty:
    return exact(Property(np.array(low), np.array([1.0, 1.0]), (((atoms),),), 2))


def test_the_step_of_a_gate_that_a_relu_reads_is_not_that_of_its_mask() -> None:
    negative = _asks(Atom(0, "<=", constant=-0.5))  # holds at (1, -1)
    rows = [["step_off", "p", [0], [0], [1.0]], ["atom", "", [0], [[0, 0, 0]], [1.0]]]
    with pytest.raises(RejectedError, match="no contradiction"):
        check(file_of(_gated()), negative, [{"do": "close", "by": rows}])


def test_no_tensor_has_the_name_of_a_step() -> None:
    with pytest.raises(UnsupportedNetworkError, match="begins with"):
        graph_of(_gated("step:z"))


def test_nothing_follows_the_end_not_even_null() -> None:
    beyond = _asks(Atom(0, ">=", constant=2.0))
    close = {
        "do": "close",
        "by": [["atom", "", [0], [[0, 0, 0]], [1.0]], ["high", "y", [0], [0], [1.0]]],
    }
    assert check(file_of(_gated()), beyond, [close]) == 1
    with pytest.raises(RejectedError, match="step 2 comes after the end"):
        check(file_of(_gated()), beyond, [close, None])


def test_a_network_beyond_exact_sums_is_unsupported_in_one_line() -> None:
    wide = ops.Node("y", _linear([[1.0] * 8193], [0.0]), ("X",), (1,))
    with pytest.raises(UnsupportedNetworkError, match="more than 8192 terms"):
        graph_of(nets.Network("X", 8193, (wide,), "y"))


def test_a_box_beyond_all_floats_is_checked_like_any_other() -> None:
    huge = Fraction(10) ** 400
    prop = ExactProperty((-huge, Fraction(0)), (huge, Fraction(1)), (), 2)
    with pytest.raises(RejectedError, match="left open"):
        check(file_of(_gated()), prop, [])
