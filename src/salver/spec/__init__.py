"""Properties over one network's input and output, and their VNN-LIB 1.0 and 2.0 texts."""

from salver.spec.numbers import decimal, float32_down, float32_up
from salver.spec.property import Atom, Clause, Property, box_clauses
from salver.spec.read import declared_tensors, parse_vnnlib, read_vnnlib
from salver.spec.write import to_vnnlib1, to_vnnlib2

__all__ = [
    "Atom",
    "Clause",
    "Property",
    "box_clauses",
    "decimal",
    "declared_tensors",
    "float32_down",
    "float32_up",
    "parse_vnnlib",
    "read_vnnlib",
    "to_vnnlib1",
    "to_vnnlib2",
]
