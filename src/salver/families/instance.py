"""An instance and the set it belongs to, as records: what is asked, of which network, around which point."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from salver.core.records import Record
from salver.spec.truth import Evidence, Truth


class Vacuity(Record):
    """How far an instance is from being trivially true or false.

    `delta_star_upper` is the smallest delta for which sampling found a violation (an upper bound on
    delta*, the smallest delta that has one); None when no sampled point left the class.
    """

    delta_over_saliency: float | None = None
    delta_star_upper: float | None = None
    samples: int = 0


class Facts(Record):
    """What an instance is about, as written to the manifest, the ONNX metadata and the VNN-LIB header."""

    family: str
    network: str
    dataset: str
    index: int
    label: int
    gradient_of: str
    condition: str
    targets: tuple[int, ...]
    epsilon: float
    delta: float | None = None
    clip: tuple[float, float] | None = None
    input_shape: tuple[int, ...]
    logits: int
    saliencies: int
    relu_derivative_at_zero: Literal[0] = 0
    tie_rule: str = "a tie z_k = z_l counts as a violation"
    expected: Truth = Truth.UNKNOWN
    evidence: Evidence = Evidence.UNKNOWN
    vacuity: Vacuity = Vacuity()
    options: dict[str, Any] = Field(default_factory=dict)


class Instance(Record):
    """One query of a suite. Paths are relative to the folder of the instance set."""

    id: str
    suite: str
    name: str
    onnx: str
    vnnlib: str
    vnnlib2: str
    network: str
    timeout: float
    operators: tuple[str, ...]
    facts: Facts


class Manifest(Record):
    """`manifest.json` of an instance set; `recipe` is a hash of the suite it was made from."""

    suite: str
    version: str
    seed: int
    title: str
    description: str
    salver: str
    recipe: str
    instances: tuple[Instance, ...]
