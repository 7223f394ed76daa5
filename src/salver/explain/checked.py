"""From a person's network to its explanation as a graph, each compared with what it comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError
from salver.explain.baseline import entry_ranges
from salver.explain.explanation import Explanation
from salver.explain.reference import (
    Probes,
    differ,
    probes,
    refuse_differing,
    refuse_misread,
    refuse_wrong_graph,
)
from salver.nets.classifier import Classifier, read_classifier
from salver.nets.network import Network
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.runtime import with_free_batch

Array = npt.NDArray[np.float64]


def classifier_of(source: Any, example: Any = None, output: str | None = None) -> Classifier:
    """The classifier of a file, a PyTorch module or a network, compared with what it was read from.

    Args:
        source: a path, a `torch.nn.Module`, or a `Network`, which is taken as it is.
        example: an input [1, ...] of a module, whose shape counts.
        output: name of the output of an ONNX file that has several.

    Raises:
        SalverError: it cannot be read, or the two differ by more than rounding.
    """
    found = _read(source, example, output)
    if not isinstance(source, Network):
        _refuse_differing(found, source, example, probes(found.network, on_kinks=False))
    return found


def unrolled(
    source: Any,
    explanation: Explanation,
    example: Any = None,
    output: str | None = None,
    input_range: tuple[float, float] | None = None,
) -> tuple[Classifier, Network, bytes]:
    """The classifier, the graph X -> Concat[logits, E] that explains it, and the content of its file.

    ONNX Runtime on the content is compared with the classifier and the explanation's definition. It takes any
    number of rows, and says what it is in its metadata.

    Args:
        source, example, output: as `classifier_of`.
        input_range: lowest and highest value of an entry, which a baseline keeps to; None where not known.

    Raises:
        SalverError: as `classifier_of`; a class that the network does not have, a network that the method
            does not take, or a graph that differs.
    """
    if not isinstance(source, str | Path | Network):
        from salver.nets.torch_export import module_of

        source = module_of(source)
    found = _read(source, example, output)
    points = probes(found.network)
    if not isinstance(source, Network):
        _refuse_differing(found, source, example, points)
    network = found.network
    ranges = entry_ranges(input_range, network.input_size)
    explanation = explanation.for_data(found.shape or (network.input_size,), *ranges)
    try:
        graph = explanation.graph(network)
    except SalverError as error:
        if error.where != "network" or not isinstance(source, str | Path):
            raise
        raise SalverError(error.what, str(source), error.hint) from error
    content = to_bytes(with_free_batch(to_model(graph, _metadata(found, explanation))))
    expected = explanation.reference_outputs(network, points.x)
    refuse_wrong_graph(content, graph, expected, points, network.output_size, explanation.kinks_at_relus)
    return found, graph, content


def _metadata(classifier: Classifier, explanation: Explanation) -> dict[str, str]:
    """What a graph's file says of itself: the map in words and as a record, and what Y is made of."""
    network = classifier.network
    shape = classifier.shape or (network.input_size,)
    said = {
        "salver.explained": explanation.text,
        "salver.explanation": explanation.model_dump_json(),
        "salver.logits": str(network.output_size),
        "salver.map_shape": json.dumps(explanation.map_shape(network, shape)),
    }
    return said if classifier.closing is None else {**said, "salver.left_out": classifier.closing}


def _read(source: Any, example: Any, output: str | None) -> Classifier:
    if isinstance(source, Network):
        return Classifier(source)
    if isinstance(source, str | Path):
        return read_classifier(Path(source), output)
    return _of_module(source, example)


def _refuse_differing(found: Classifier, source: Any, example: Any, points: Probes) -> None:
    is_file = isinstance(source, str | Path)
    where = str(source) if is_file else type(source).__name__
    if found.model is not None:
        refuse_misread(found.model, found.network, points, where)
    if not is_file:
        _refuse_other_values(found, source, example, points.random(), where)


def _of_module(module: Any, example: Any) -> Classifier:
    from torch.nn import Module

    from salver.nets.torch_export import read_module

    kind = type(module).__name__
    if not isinstance(module, Module):
        raise SalverError("is neither a path nor a torch.nn.Module", kind, "name a file, or give a module")
    if example is None:
        raise SalverError("a module is read with an example of its input", kind, "give one of shape [1, ...]")
    return read_module(module, example)


def _refuse_other_values(found: Classifier, module: Any, example: Any, points: Probes, where: str) -> None:
    """Compares values and gradient of the network with those of the module itself.

    Where a closing operator was left out, both are compared behind it.
    """
    import torch

    from salver.nets.torch_bridge import to_torch
    from salver.nets.torch_export import in_evaluation

    weights = torch.from_numpy(np.random.default_rng(0).normal(size=found.network.output_size))

    def values_and_slopes(function: Any, x: Any) -> tuple[Array, Array]:
        rows = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        values = function(rows).double().reshape(len(rows), -1)
        (slopes,) = torch.autograd.grad((values @ weights).sum(), rows, allow_unused=True)
        slopes = torch.zeros_like(rows) if slopes is None else slopes
        return values.detach().numpy(), slopes.detach().numpy()

    network = to_torch(found.network, torch.float64)
    with in_evaluation(module, example) as forward:
        run, slopes = values_and_slopes(forward, points.x)
    expected, gradient = values_and_slopes(lambda rows: _closed(network(rows), found.closing), points.x)
    if found.closing is None:
        refuse_differing(run, found.network, points, where, "in PyTorch")
    if run.shape != expected.shape or differ(run, expected):
        what = "gives other values in PyTorch than in the graph"
        raise SalverError(what, where, "report it; salver reads it wrongly")
    if differ(slopes[: points.drawn], gradient[: points.drawn]):
        what = "has a gradient in PyTorch that is not that of the function it computes"
        raise SalverError(what, where, "leave backward passes of its own out; salver explains the function")


def _closed(logits: Any, closing: str | None) -> Any:
    """What an operator that closes a classifier makes of logits [k, m]."""
    if closing is None:
        return logits
    if closing == "Sigmoid":
        return logits.sigmoid()
    return logits.softmax(1) if closing == "Softmax" else logits.log_softmax(1)
