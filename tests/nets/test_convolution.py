"""Convolutions are rewritten into the form that verifiers take, without changing a single coefficient."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from salver.nets.network import Network, evaluate, lower
from salver.nets.operators import Concat, Conv, ConvTranspose, Node, Relu, Reshape
from salver.nets.operators.convolution import MOST_WEIGHTS

PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def windows(draw):
    """An operator of either kind and the image it reads."""
    groups, per_in, per_out = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 2))
    kernel, strides = draw(PAIR), draw(PAIR)
    pads = tuple(draw(st.integers(0, 2)) for _ in range(4))
    dilations = draw(st.sampled_from([(1, 1), (1, 1), (1, 1), (2, 1)]))
    source = (groups * per_in, draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    if draw(st.booleans()):
        weight = rng.normal(size=(groups * per_out, per_in, *kernel)).astype(np.float32)
        operator = Conv(weight, np.zeros(len(weight), np.float32), strides, pads, dilations, groups)
        assume(min(operator.output_shape(source)) > 0)
    else:
        weight = rng.normal(size=(groups * per_in, per_out, *kernel)).astype(np.float32)
        operator = ConvTranspose(weight, strides, pads, dilations, groups)
        assume(min(operator.output_shape(source)) > 0)
    return operator, source


def matrix(operator, source):
    return operator.matrix_and_bias(source)[0].toarray()


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(windows())
def test_the_plain_form_is_the_same_linear_map(case):
    operator, source = case
    found = operator.plain(source)
    assert np.array_equal(matrix(found, source), matrix(operator, source))
    assert found.groups == 1
    if operator.dilations == (1, 1) and isinstance(operator, Conv):
        assert found.pads[:2] == found.pads[2:]


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 1), st.integers(2, 6))
def test_one_dimensional_layers_become_square_ones(channels, width, stride, pad, size):
    """An image of one row, as signals are read: kernel [1, k], stride (1, s)."""
    weight = np.random.default_rng(0).normal(size=(channels, 2, 1, width)).astype(np.float32)
    operator = ConvTranspose(weight, (1, stride), (0, pad, 0, pad))
    source = (channels, 1, size)
    assume(min(operator.output_shape(source)) > 0)
    found = operator.plain(source)
    assert np.array_equal(matrix(found, source), matrix(operator, source))
    assert found.strides[0] == found.strides[1]
    if width % 2 == 1:
        assert found.weight.shape[2] == found.weight.shape[3]
        assert found.pads[:2] == found.pads[2:]


@pytest.mark.parametrize("channels", [3, 300])
def test_large_kernels_keep_their_groups(channels):
    weight = np.ones((channels, 1, 4, 4), np.float32)
    operator = Conv(weight, np.zeros(channels, np.float32), groups=channels)
    found = operator.plain((channels, 4, 4))
    assert (found.groups == 1) == (channels * channels * 16 <= MOST_WEIGHTS)


def test_layers_of_one_shape_keep_their_own_matrices_and_one_that_is_there_twice_its_one():
    """Above each other stand rows that read the input, the first ReLUs or the second ones alone."""
    rng, shape = np.random.default_rng(3), (2, 3, 3)
    one, other = (
        Conv(rng.normal(size=(2, 2, 3, 3)).astype(np.float32), np.zeros(2, np.float32), pads=(1, 1, 1, 1))
        for _ in range(2)
    )
    nodes = (
        Node("image", Reshape(), ("X",), shape),
        Node("z", one, ("image",), shape),
        Node("a", Relu(), ("z",), shape),
        Node("w", other, ("a",), shape),
        Node("b", Relu(), ("w",), shape),
        Node("y", one, ("b",), shape),
        Node("v", other, ("image",), shape),
        Node("Y", Concat(), ("z", "w", "v", "y"), (72,)),
    )
    network = Network("X", 18, nodes, "Y")
    x = rng.normal(size=(20, 18))
    assert np.allclose(lower(network).evaluate(x)[0], evaluate(network, x))
