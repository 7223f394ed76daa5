"""The network that is asked about: a file, a module of PyTorch, or a network that was read before."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError
from salver.nets.classifier import Classifier, read_classifier
from salver.nets.network import Network, evaluate
from salver.nets.onnx.file import network_name
from salver.nets.runtime import Runtime

Array = npt.NDArray[np.float64]
TOLERANCE = 1e-4
"""Difference between the original and what was read of it, relative to the largest output."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A classifier, its name in sentences, and the file that it was read from, if it was."""

    classifier: Classifier
    name: str
    file: Path | None = None

    @property
    def network(self) -> Network:
        """X [n] -> logits [m]."""
        return self.classifier.network

    def refuse_misread(self, x: Array) -> None:
        """Compares the file under ONNX Runtime with what was read of it, at x [n].

        Raises:
            SalverError: they differ.
        """
        if self.classifier.model is None:
            return
        expected = Runtime(self.classifier.model.SerializeToString()).samples(x[None])[0]
        found = evaluate(self.network, x[None])[0]
        scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
        if expected.shape != found.shape or np.abs(expected - found).max(initial=0.0) > TOLERANCE * scale:
            what = "gives other outputs at the point than what was read of it"
            raise SalverError(what, self.name, "this is a fault of the reader: please report the network")


def subject_of(model: Any, examples: Sequence[npt.NDArray[Any]], output: str | None = None) -> Subject:
    """The classifier that a person names or hands over.

    Args:
        model: a path, a `Network`, a program of torch.export, or a module of PyTorch, which is read as in
            evaluation mode.
        examples: an input in the shapes that a module may take it in; the first one taken counts.
        output: name of the output with the scores, of an ONNX file with several.

    Raises:
        SalverError: it is none of these, or cannot be read.
    """
    if isinstance(model, str | Path):
        path = Path(model)
        return Subject(read_classifier(path, output), network_name(path), path)
    if isinstance(model, Network):
        return Subject(Classifier(model), "the network")
    if not callable(getattr(model, "named_parameters", None)):
        what = f"{type(model).__name__} is no network"
        raise SalverError(what, "model", "give a path, a torch.nn.Module or what salver.read_onnx returns")
    from salver.explain.checked import classifier_of
    from salver.nets.torch_export import module_of, sample_of

    model = module_of(model)
    name, example = type(model).__name__, examples[0]
    for one in examples:
        with contextlib.suppress(SalverError):
            example = sample_of(model, one, name)
            break
    return Subject(classifier_of(model, example, output), name)
