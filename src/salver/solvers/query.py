"""What an embedded solver is given, and what it must return."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError
from salver.nets.affine import UnsupportedQueryError
from salver.nets.network import Network, lower
from salver.nets.onnx.declared import inputs_of, is_double, refuse_contradiction
from salver.nets.onnx.file import load_model, self_contained
from salver.nets.onnx.reader import from_model
from salver.nets.program import Program
from salver.nets.runtime import Runtime
from salver.solvers.journal import Journal
from salver.solvers.kinks import near_kink, outputs_over_the_reals
from salver.solvers.replay import LiftedReplay
from salver.spec import Property, float32_down, float32_up, plain
from salver.spec.terms import Tensor, read_term_query

Array = npt.NDArray[np.float64]
REAL_TOLERANCE = 1e-5
"""Difference between float32 and float64 outputs that is put down to rounding, as a share of the sums of
absolute values that the outputs are added up from."""
NEAR = 1e-6
"""Distance from a bound, relative to the larger bound, that is put down to a library's tolerances."""


class Verdict(StrEnum):
    """First line of a solver's output, in the words of the VNN-LIB standard."""

    SAT = "sat"
    UNSAT = "unsat"
    UNKNOWN = "unknown"
    TIMED_OUT = "timed-out"


@dataclass(frozen=True, eq=False)
class Result:
    """A verdict, the confirmed witness x [n] of a `sat`, and a reason for anything undecided.

    Attributes:
        journal: what the search showed, where that was to be recorded for a proof of `unsat`.
    """

    verdict: Verdict
    witness: Array | None = None
    reason: str = ""
    journal: Journal | None = None


@dataclass(frozen=True)
class Budget:
    """Wall-clock budget that started when the object was made. Seconds."""

    seconds: float
    started: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds left; negative when over."""
        return self.seconds - (time.monotonic() - self.started)

    @property
    def over(self) -> bool:
        return self.left <= 0.0


@dataclass(frozen=True)
class Options:
    """What the command line hands to every solver.

    Attributes:
        without: parts of the solver that are left out, of those that its registry entry names.
        record: whether to keep what a proof of `unsat` can use.
    """

    threads: int = 1
    device: str = "cpu"
    seed: int = 0
    backend: str = ""
    without: frozenset[str] = frozenset()
    record: bool = False


@dataclass(frozen=True, eq=False)
class Query:
    """One network with one property over it.

    Attributes:
        onnx: the file, for replay under ONNX Runtime.
        network: its operators.
        prop: box, ball and clauses; a satisfying X falsifies the property under test.
        lifted: replays `network` where it is not the file's function alone (`salver.solvers.replay`).
        double: whether the networks take their inputs in double precision.
        tensors: input and output as the text declares them, where it is known.
    """

    onnx: Path
    network: Network
    prop: Property
    lifted: LiftedReplay | None = None
    double: bool = False
    tensors: tuple[Tensor, ...] = ()

    @cached_property
    def program(self) -> Program:
        """The lowered network.

        Raises:
            UnsupportedQueryError: see `lower`.
        """
        return lower(self.network)

    @cached_property
    def _whole(self) -> Program:
        """The network's own program, whatever the solver works on (`over`)."""
        return self.program

    @property
    def program_without_products(self) -> Program:
        """The same for a solver that does not know products.

        Raises:
            UnsupportedQueryError: it has some, or see `lower`.
        """
        if self.program.has_products:
            raise UnsupportedQueryError("products of two values, in this solver")
        return self.program

    @cached_property
    def _points(self) -> tuple[Array, Array]:
        """Least and largest of the binary32 numbers inside the box, for each input [n], [n]."""
        low, high = self.prop.input_lower, self.prop.input_upper
        least, most = float32_up(low), float32_down(high)
        middle = low + (high - low) / 2
        nearest = middle if self.double else middle.astype(np.float32).astype(np.float64)
        return np.where(least <= most, least, nearest), np.where(least <= most, most, nearest)

    @cached_property
    def _runtime(self) -> Runtime:
        try:
            return Runtime(self_contained(self.onnx))
        except SalverError:
            raise
        except Exception:  # ONNX Runtime's own: it refuses operators that it does not know, needed or not
            return Runtime(load_model(self.onnx).SerializeToString())

    def asking(self, prop: Property) -> Query:
        """The same network with another property; what is known of the network is kept."""
        other = replace(self, prop=prop)
        other.__dict__["program"] = self.program
        other.__dict__["_whole"] = self._whole
        if "_runtime" in self.__dict__:
            other.__dict__["_runtime"] = self._runtime
        return other

    def over(self, program: Program) -> Query:
        """The same query, with a program that has the network's values at every x of the box.

        Witnesses are still confirmed with the network's own: maps that were composed are sums of other
        sizes, by which rounding would be misjudged.
        """
        other = self.asking(self.prop)
        other.__dict__["program"] = program
        return other

    def replay(self, x: Array) -> Array:
        """Outputs of ONNX Runtime, in the types of the file, at `x` [n]: the values a judge will see."""
        return self._runtime.outputs(x) if self.lifted is None else self.lifted.outputs(x)

    def clip(self, x: Array) -> Array:
        """The nearest binary32 point inside the box; for an input without one, what is nearest to the box.

        Where there is a ball, the point also lies in it, if it can.
        """
        if self.prop.ball is not None:
            return self.prop.ball.nearest(x, *self._points)
        nearest = np.asarray(x, np.float32).astype(np.float64)
        return np.clip(nearest, *self._points)

    def admits(self, point: Array) -> bool:
        """Whether the ball, where there is one, holds a point [n] of `clip`; exactly."""
        return self.prop.outside_ball(point) == 0.0

    def confirm(self, x: Array) -> Array | None:
        """The witness as it will be printed if it survives strict replay (tolerance 0), else None.

        It must also hold over the reals: a point that rounding alone carries over z = 0 satisfies the query
        in ONNX Runtime's arithmetic alone.
        """
        point = self.clip(x)
        if not self.admits(point):
            return None
        outputs = self.replay(point)
        if not self.prop.outputs_satisfied(outputs):
            return None
        if self.lifted is not None and not self.lifted.holds(point, outputs):
            return None
        exact = outputs_over_the_reals(self.network, self._whole, point)
        return point if self.prop.outputs_satisfied(exact, self.rounding(point)) else None

    def confirm_near(self, x: Array) -> Array | None:
        """The same of a library's point: as it is, or with entries next to a bound put on it.

        One corner may be all there is, and tolerances keep a library beside it.
        """
        low, high = self.prop.input_lower, self.prop.input_upper
        near = NEAR * np.maximum(np.abs(low), np.abs(high))
        snapped = np.where(x - low <= near, low, np.where(high - x <= near, high, x))
        witness = self.confirm(x)
        return self.confirm(snapped) if witness is None else witness

    def rounding(self, x: Array) -> float:
        """What single precision may do to the outputs of greatest magnitude at `x` [n]."""
        _, _, values = self._whole.evaluate(x[None])
        largest = {block: np.abs(value[0]) for block, value in values.items()}
        return REAL_TOLERANCE * float(self._whole.output.magnitude(largest).max(initial=0.0))

    def on_kink(self, x: Array) -> bool:
        """Whether single precision may carry `x` [n] over some z = 0, where the saliency map jumps."""
        return near_kink(self._whole, x)


Solver = Callable[[Query, Budget, Options], Result]


def read_query(onnx: Path, vnnlib: Path) -> Query:
    """Reads both files of a plain query.

    Raises:
        SalverError: unreadable or malformed files, or sizes, shapes or types that do not fit.
        UnsupportedQueryError: operators outside `Network`.
    """
    text = read_term_query(vnnlib)
    return query_over(onnx, plain(text, str(vnnlib)), text.tensors, vnnlib)


def query_over(onnx: Path, prop: Property, tensors: tuple[Tensor, ...], vnnlib: Path) -> Query:
    """A plain property, whose text declares `tensors`, over the network in a file; errors as `read_query`."""
    model = load_model(onnx)
    try:
        network = from_model(model, str(onnx))
    except SalverError as error:
        if "is not supported" in error.what:
            raise UnsupportedQueryError(str(error)) from error
        raise
    sizes = (network.input_size, network.output_size)
    if sizes != (len(prop.input_lower), prop.output_count):
        what = f"declares {len(prop.input_lower)} inputs and {prop.output_count} outputs"
        raise SalverError(
            f"{what}, the network has {sizes[0]} and {sizes[1]}", str(vnnlib), "use its own network"
        )
    ends = {"input": inputs_of(model.graph)[0], "output": model.graph.output[0]}
    for tensor in tensors:
        if tensor.head:  # VNN-LIB 1.0 declares no type
            refuse_contradiction(tensor.head, ends[tensor.role], str(vnnlib))
    return Query(onnx, network, prop, double=is_double(ends["input"]), tensors=tensors)
