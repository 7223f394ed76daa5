"""The operators of a network: one class each, which says all that the package needs to know of it.

A module of this folder registers its classes by `@operator`; every module is loaded with the package.
"""

from importlib import import_module
from pkgutil import iter_modules

from salver.nets.operators.arrangement import Pick, Transpose
from salver.nets.operators.base import OPERATORS, Adjoint, Array, Node, Operator, Range, Shape, held, operator
from salver.nets.operators.convolution import Conv, ConvTranspose
from salver.nets.operators.elementwise import Abs, Add, Concat, Mul, Relu, Reshape, Sign, Sub
from salver.nets.operators.linear import Linear, Scale

for module in iter_modules(__path__):
    import_module(f"{__name__}.{module.name}")

__all__ = [
    "OPERATORS", "Abs", "Add", "Adjoint", "Array", "Concat", "Conv", "ConvTranspose", "Linear", "Mul", "Node",
    "Operator", "Pick", "Range", "Relu", "Reshape", "Scale", "Shape", "Sign", "Sub", "Transpose",
    "held", "operator",
]  # fmt: skip
