"""The linear operators of a network as matrices over flat tensors.

Evaluation, folding and every solver share this one meaning of convolution and its adjoint.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from salver.nets.network import (
    Conv,
    ConvTranspose,
    Linear,
    Shape,
    conv_output_shape,
    conv_transpose_output_shape,
)


def matrix_and_bias(operator: Linear | Conv | ConvTranspose, shape: Shape) -> tuple[Any, Any]:
    """Matrix [outputs, inputs], dense of a `Linear`, else CSR, and bias [outputs] over flat tensors."""
    match operator:
        case Linear():
            return operator.weight, operator.bias
        case Conv():
            return conv_matrix(operator, shape), conv_bias(operator, shape)
    matrix = conv_transpose_matrix(operator, shape)
    return matrix, np.zeros(matrix.shape[0])


def conv_matrix(operator: Conv, shape: Shape) -> Any:
    """CSR matrix [outputs, inputs] of a convolution without its bias over `shape` [in, height, width]."""
    _, height, width = shape
    filters, per_group, rows, columns = operator.weight.shape
    _, out_height, out_width = conv_output_shape(shape, operator)
    o, c, i, j, p, q = np.ogrid[:filters, :per_group, :rows, :columns, :out_height, :out_width]
    y = p * operator.strides[0] + i * operator.dilations[0] - operator.pads[0]
    x = q * operator.strides[1] + j * operator.dilations[1] - operator.pads[1]
    channel = (o // (filters // operator.groups)) * per_group + c
    target = (o * out_height + p) * out_width + q
    source = (channel * height + y) * width + x
    full = (filters, per_group, rows, columns, out_height, out_width)
    inside = np.broadcast_to((y >= 0) & (y < height) & (x >= 0) & (x < width), full)
    weight = np.broadcast_to(operator.weight[..., None, None], full)
    entries = (
        weight[inside].astype(np.float64),
        (np.broadcast_to(target, full)[inside], np.broadcast_to(source, full)[inside]),
    )
    return sparse.csr_array(entries, shape=(filters * out_height * out_width, math.prod(shape)))


def conv_transpose_matrix(operator: ConvTranspose, shape: Shape) -> Any:
    """CSR matrix [outputs, inputs] of a transposed convolution over `shape` [in, height, width]."""
    adjoint = Conv(
        operator.weight,
        np.zeros(operator.weight.shape[0], np.float32),
        operator.strides,
        operator.pads,
        operator.dilations,
        operator.groups,
    )
    output_shape = conv_transpose_output_shape(shape, operator)
    matrix = conv_matrix(adjoint, output_shape)
    if matrix.shape[0] != math.prod(shape):
        raise ValueError(f"transposed convolution of {shape} is no adjoint of a convolution")
    return matrix.T.tocsr()


def conv_bias(operator: Conv, shape: Shape) -> npt.NDArray[np.float64]:
    """Bias of a convolution spread over its flat output."""
    _, height, width = conv_output_shape(shape, operator)
    return np.repeat(operator.bias.astype(np.float64), height * width)
