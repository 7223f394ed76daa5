"""Properties over one network's input and output, and their VNN-LIB 1.0 and 2.0 texts."""

from salver.spec.ball import Ball, Norm, ball_around, norm_of
from salver.spec.numbers import decimal, float32_down, float32_up
from salver.spec.plain import parse_vnnlib, plain, read_vnnlib
from salver.spec.property import Atom, Clause, Property, box_clauses
from salver.spec.write import to_vnnlib1, to_vnnlib2

__all__ = [
    "Atom",
    "Ball",
    "Clause",
    "Norm",
    "Property",
    "ball_around",
    "box_clauses",
    "decimal",
    "float32_down",
    "float32_up",
    "norm_of",
    "parse_vnnlib",
    "plain",
    "read_vnnlib",
    "to_vnnlib1",
    "to_vnnlib2",
]
