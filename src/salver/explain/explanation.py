"""Which map of which network: what every method's record has in common."""

from __future__ import annotations

from abc import abstractmethod
from enum import StrEnum
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from salver.core.records import Kinds, Record
from salver.explain.unroll import logit_combination
from salver.explain.unsupported import refused
from salver.nets.affine import UnsupportedQueryError
from salver.nets.network import Network, evaluate, lower
from salver.nets.program import Program
from salver.nets.runtime import Runtime

Array = npt.NDArray[np.float64]


METHODS = Kinds("method", refused, "salver methods")
"""Every method's record by name."""
CANCELLED = 1e-12
"""Of all that a sum in double precision adds up: less than this is left of terms that cancel."""


class Form(StrEnum):
    """What a method's graph is made of beside linear operators and ReLUs; each form has all before it."""

    FORWARD = "forward only"
    MASKS = "masks times values"
    PRODUCTS = "products of values"


class Explanation(Record):
    """A map E [s] of a classifier with m logits: of one logit z_a, or of a difference z_a - z_b.

    A method is one file with a subclass that gives `method` a default and is registered in `METHODS`, and a
    line in `salver.explain.methods`.

    Attributes:
        method: which method.
        logit: a; a family explains the label of xhat, whatever a suite says.
        minus: b; None for z_a alone.
        absolute: |E| in place of E.
        form: what the method's graph is made of, which decides who can solve it.
        paper: where the method was published, such as `Le et al., ACML 2024`.
        elsewhere: what other packages call it, where that is another name.
    """

    form: ClassVar[Form]
    paper: ClassVar[str]
    elsewhere: ClassVar[tuple[str, ...]] = ()

    method: str
    logit: int = 0
    minus: int | None = None
    absolute: bool = False

    @abstractmethod
    def graph(self, classifier: Network) -> Network:
        """The network X [n] -> Concat[logits [m], E [s]].

        Raises:
            SalverError: a class the network does not have, or a network the method does not take.
        """

    @abstractmethod
    def signed_reference(self, classifier: Network, x: npt.NDArray[Any]) -> Array:
        """E [batch, s] before any absolute value, at x [batch, n], in float64 and from its definition.

        It never uses `graph`: the two are compared with each other.
        """

    @property
    @abstractmethod
    def name(self) -> str:
        """The map without its sign or logit, for readers; a class variable where it is always the same."""

    @property
    @abstractmethod
    def short(self) -> str:
        """The same in file names."""

    def values(self, explained: Explained, x: Array) -> tuple[Array, Array]:
        """Logits [batch, m] and E [batch, s] at x [batch, n], by the quickest way there is."""
        outputs = explained.lowered.evaluate(x)[0]
        return outputs[:, : explained.logits], outputs[:, explained.logits :]

    def rounding(self, explained: Explained, x: Array) -> Array:
        """What is no more than it in E [s] at x [n] may be a 0 whose terms have not cancelled in full."""
        try:
            return explained.lowered.rounding(x, CANCELLED)[explained.logits :]
        except UnsupportedQueryError:
            return np.zeros(explained.graph.output_size - explained.logits)

    @property
    def values_use_graph(self) -> bool:
        """Whether `values` evaluates the graph, and so cannot find a fault of it."""
        return type(self).values is Explanation.values

    def looks_at(self, x: Array) -> Array:
        """Points [q, n] at which the classifier's gradient matters for E at x [n]."""
        return x[None]

    def map_shape(self, classifier: Network, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of E before flattening; that of the input unless a method says otherwise."""
        return input_shape

    def for_data(self, shape: tuple[int, ...], low: Array, high: Array) -> Self:
        """The same map, completed by what it needs to know of the data that it is about.

        Args:
            shape: of an input before flattening.
            low, high: lowest and highest value of every entry [n]; infinite where nothing is known.

        Raises:
            SalverError: it does not fit such inputs.
        """
        return self

    def graph_name(self, network: str) -> str:
        """File stem of the graph for a network of this name."""
        return f"{network}-{self.short}{self.logits_stem}" + ("-abs" if self.absolute else "")

    @property
    def kinks_at_relus(self) -> bool:
        """Whether the graph bends only where the classifier does, so that probes can keep clear of it."""
        return True

    def of(self, logit: int, minus: int | None = None) -> Self:
        """The same map of other logits."""
        return self.model_copy(update={"logit": logit, "minus": minus})

    @property
    def ties(self) -> str:
        """Why entries are equal whatever the input, and what to do; empty where they are not."""
        return ""

    def as_stored(self, classifier: Network) -> Self:
        """The same map, said without names of tensors: the network that is stored has names of its own."""
        return self

    def combination(self, logits: int) -> Array:
        """Coefficients [m] of what is explained. Raises: SalverError: see `logit_combination`."""
        return logit_combination(logits, self.logit, self.minus)

    def reference(self, classifier: Network, x: npt.NDArray[Any]) -> Array:
        """E [batch, s] at x [batch, n], in float64 and from its definition."""
        signed = self.signed_reference(classifier, x)
        return np.abs(signed) if self.absolute else signed

    def reference_outputs(self, classifier: Network, x: npt.NDArray[Any]) -> Array:
        """What `graph` must give [batch, m + s]: logits by plain evaluation, and `reference`."""
        return np.hstack([evaluate(classifier, x.astype(np.float64)), self.reference(classifier, x)])

    @property
    def explained(self) -> str:
        """The logits as a formula."""
        return f"z_{self.logit}" + ("" if self.minus is None else f" - z_{self.minus}")

    @property
    def text(self) -> str:
        """The map in words, such as `the gradient of z_3`."""
        return f"{'the absolute ' if self.absolute else 'the '}{self.name} of {self.explained}"

    @property
    def logits_stem(self) -> str:
        """The logits as a file-name part."""
        return f"{self.logit}" + ("" if self.minus is None else f"m{self.minus}")


class Explained:
    """A classifier with one map of it, in every form; each is made when it is first needed.

    Attributes:
        classifier, program: the network and the same lowered.
        explanation: None for the classifier alone, whose map is empty.
    """

    def __init__(self, classifier: Network, program: Program, explanation: Explanation | None) -> None:
        self.classifier, self.program, self.explanation = classifier, program, explanation
        self.logits = classifier.output_size

    @cached_property
    def graph(self) -> Network:
        """X [n] -> Concat[logits [m], E [s]]."""
        return self.classifier if self.explanation is None else self.explanation.graph(self.classifier)

    @cached_property
    def lowered(self) -> Program:
        """The graph as a program."""
        return self.program if self.explanation is None else lower(self.graph)

    @cached_property
    def runtime(self) -> Runtime:
        """The graph in ONNX Runtime."""
        from salver.nets.onnx.writer import to_bytes, to_model

        return Runtime(to_bytes(to_model(self.graph)))

    def values(self, x: Array) -> tuple[Array, Array]:
        """Logits [batch, m] and E [batch, s] at x [batch, n]."""
        if self.explanation is None:
            return self.program.evaluate(x)[0], np.empty((len(x), 0))
        return self.explanation.values(self, x)

    def at(self, x: Array) -> Array:
        """E [s] at x [n] as a definition has it: entries that rounding has left of a 0 are 0."""
        entries = np.asarray(self.values(x[None])[1][0])
        if self.explanation is None or not entries.any():
            return entries
        rounding = self.explanation.rounding(self, x)
        return np.asarray(np.where(np.isfinite(rounding) & (np.abs(entries) <= rounding), 0.0, entries))
