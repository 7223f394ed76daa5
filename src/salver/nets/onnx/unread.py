"""Operators that salver does not read, and what somebody who has one can do."""

from __future__ import annotations

from collections.abc import Container

import onnx

from salver.core.errors import SalverError

MEND = "see docs/networks.md for the operators that are"
_KINDS: tuple[tuple[frozenset[str], str], ...] = (
    (
        frozenset(
            "QuantizeLinear DequantizeLinear DynamicQuantizeLinear QLinearConv QLinearMatMul ConvInteger "
            "MatMulInteger".split()
        ),
        "salver reads no quantised networks: export the network in float32, before it is quantised",
    ),
    (
        frozenset("LSTM GRU RNN Loop Scan SequenceAt SequenceConstruct SequenceInsert".split()),
        "salver reads feed-forward networks alone: one without recurrence and loops is needed",
    ),
    (
        frozenset("LinearClassifier LinearRegressor Normalizer SVMClassifier TreeEnsembleClassifier".split()),
        "salver reads neural networks, not the other models of scikit-learn",
    ),
    (
        frozenset(
            "ArgMax ArgMin TopK OneHot NonMaxSuppression ArrayFeatureExtractor LabelEncoder ZipMap".split()
        ),
        "it chooses a class: name the scores before it as the output",
    ),
    (
        frozenset(
            "Celu Cos Elu Erf Exp Gelu GroupNormalization HardSwish InstanceNormalization LayerNormalization "
            "Log LogSoftmax LpNormalization LpPool LRN MeanVarianceNormalization Mish Pow Reciprocal "
            "ReduceL2 RMSNormalization Selu Sigmoid Sin Softmax Softplus Softsign Sqrt Swish Tanh".split()
        ),
        "salver reads piecewise linear networks: use ReLUs, or name a tensor before it as the output",
    ),
)
"""Kinds of operators and what to do about each."""


def refuse_unread(graph: onnx.GraphProto, supported: Container[str], where: str) -> None:
    """Raises: SalverError: operators that the reader does not know; names each kind and its first node."""
    first: dict[str, onnx.NodeProto] = {}
    for node in graph.node:
        if node.op_type not in supported or node.domain:
            first.setdefault(node.op_type, node)
    if not first:
        return
    named = [called(node) for node in first.values()]
    several, are = ("s", "are") if len(named) > 1 else ("", "is")
    listed = " and ".join(filter(None, (", ".join(named[:-1]), named[-1])))
    kind = next(iter(first))
    hint = advice(kind)
    node = first[kind]
    if node.input and node.input[0] and "name " in hint:
        hint += f" ({node.input[0]!r:.60})"
    raise SalverError(f"operator{several} {listed} {are} not supported by salver", where, hint)


def advice(kind: str) -> str:
    """What somebody can do who has an operator of this kind."""
    return next((hint for kinds, hint in _KINDS if kind in kinds), MEND)


def called(node: onnx.NodeProto) -> str:
    """An operator by its kind and, where it has one, its name."""
    return f"{node.op_type} {node.name!r:.60}" if node.name else str(node.op_type)
