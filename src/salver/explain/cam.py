"""Class activation maps as graphs: X [n] -> Concat[logits [m], CAM_c [pixels]] (Gu et al., CORGI, 2020).

CAM_c(x)[p] = sum over channels ch of w[c, ch] A_ch(x)[p], with A the last ReLU before global average
pooling and w the weights of the dense layer behind it.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse

from salver.core.errors import SalverError
from salver.explain.grad_cam import split_at_features
from salver.nets.network import Network, free_prefix, single
from salver.nets.operators import Concat, Conv, Linear, Node, Relu, Reshape

_MEND = "use a classifier that ends in ReLU - global average pooling - dense"


def cam_graph(classifier: Network, label: int) -> Network:
    """The network X [n] -> Concat[logits [m], CAM_label [height * width]].

    Raises:
        SalverError: the ending is not ReLU - global average pooling - dense, or there is no such class.
    """
    made_by = {node.name: node for node in classifier.nodes}
    dense = made_by[classifier.output]
    if not isinstance(dense.operator, Linear):
        raise SalverError("the last layer is not dense", "class activation map", _mend(classifier))
    pool = made_by.get(dense.inputs[0])
    while pool is not None and isinstance(pool.operator, Reshape):
        pool = made_by.get(pool.inputs[0])
    source = made_by.get(pool.inputs[0]) if pool is not None else None
    if pool is None or source is None or not isinstance(source.operator, Relu) or not _is_gap(pool, source):
        what = "no global average pooling before the dense layer"
        raise SalverError(what, "class activation map", _mend(classifier))
    if not 0 <= label < classifier.output_size:
        mend = f"choose one of 0 ... {classifier.output_size - 1}"
        raise SalverError(f"class {label} does not exist", "class activation map", mend)
    channels, height, width = source.shape
    weight = dense.operator.weight[label].reshape(1, channels, 1, 1)
    pixels = height * width
    prefix = free_prefix(classifier.shapes, "cam_")
    cam, flat, output = (f"{prefix}{part}" for part in ("map", "flat", "output"))
    added = (
        Node(cam, Conv(weight, np.zeros(1, np.float32)), (source.name,), (1, height, width)),
        Node(flat, Reshape(), (cam,), (pixels,)),
        Node(output, Concat(), (classifier.output, flat), (classifier.output_size + pixels,)),
    )
    return single(Network(classifier.input, classifier.input_size, (*classifier.nodes, *added), output))


def _mend(classifier: Network) -> str:
    """Names Grad-CAM where the network allows it."""
    try:
        split_at_features(classifier)
    except SalverError:
        return _MEND
    return f'{_MEND}, or map = "grad-cam" for this dense head'


def _is_gap(pool: Node, source: Node) -> bool:
    """Whether `pool` averages every channel of the image that `source` gives, with groups or without."""
    operator = pool.operator
    if not isinstance(operator, Conv) or len(source.shape) != 3 or operator.bias.any():
        return False
    channels, *image = source.shape
    if pool.shape != (channels, 1, 1):
        return False
    share = 1.0 / math.prod(image)
    averaging = scipy.sparse.kron(scipy.sparse.identity(channels), np.full((1, math.prod(image)), share))
    return bool(abs(operator.matrix(source.shape) - averaging).max() <= 1e-5 * share)
