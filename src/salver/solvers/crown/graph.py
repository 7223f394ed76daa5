"""The query's graph for auto_LiRPA: a torch module with operators of its own, step, gate and product.

The step 1[z > 0] is relaxed to [0, 1] by z / u <= m <= 1 - z / l, or the constants 0 and 1; the gate m v and
the product f v by the McCormick planes. All planes hold for the open and for the closed mask at z = 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from salver.nets.affine import Affine, apply
from salver.nets.program import (
    FactorBlock,
    GateBlock,
    MaskBlock,
    ProductBlock,
    Program,
    ReluBlock,
)
from salver.solvers.crown.lirpa import bounded_module
from salver.solvers.crown.operators import bound_classes, traced_functions
from salver.spec import Property

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class AtomRows:
    """Every atom as `sign * row - offset >= 0` over distinct rows of the output.

    Attributes:
        matrix: [rows, outputs].
        row, sign, offset: per atom, in the order of `Property.atoms()`.
        clauses: per clause, per conjunction, the numbers of its atoms.
    """

    matrix: Array
    row: npt.NDArray[np.intp]
    sign: Array
    offset: Array
    clauses: tuple[tuple[tuple[int, ...], ...], ...]


def atom_rows(prop: Property) -> AtomRows:
    """Distinct rows of a property; `Y[i] >= c` and `Y[i] <= d` share one."""
    rows: dict[tuple[int, int | None], int] = {}
    row: list[int] = []
    sign: list[float] = []
    offset: list[float] = []
    clauses: list[tuple[tuple[int, ...], ...]] = []
    for clause in prop.clauses:
        numbers: list[tuple[int, ...]] = []
        for conjunction in clause:
            numbers.append(tuple(range(len(row), len(row) + len(conjunction))))
            for atom in conjunction:
                row.append(rows.setdefault((atom.left, atom.other), len(rows)))
                sign.append(1.0 if atom.relation == ">=" else -1.0)
                offset.append(sign[-1] * atom.constant if atom.other is None else 0.0)
        clauses.append(tuple(numbers))
    matrix = np.zeros((len(rows), prop.output_count))
    for (left, other), number in rows.items():
        matrix[number, left] += 1.0
        if other is not None:
            matrix[number, other] -= 1.0
    return AtomRows(matrix, np.array(row, np.intp), np.array(sign), np.array(offset), tuple(clauses))


def over_rows(program: Program, rows: AtomRows) -> Program:
    """The program whose outputs are the rows of the property."""
    return replace(program, output=apply(rows.matrix, program.output, 0.0))


def live_blocks(program: Program) -> set[int]:
    """Blocks the output depends on; a tracer drops the others."""
    live: set[int] = set()
    waiting = list(program.output.terms)
    while waiting:
        number = waiting.pop()
        if number < 0 or number in live:
            continue
        live.add(number)
        block = program.blocks[number]
        waiting += program.argument(block).terms
        waiting += [block.mask] if isinstance(block, GateBlock) else []
        waiting += [block.factor] if isinstance(block, ProductBlock) else []
    return live


@dataclass(frozen=True, eq=False)
class BoundedGraph:
    """A program inside auto_LiRPA.

    Attributes:
        module: the `BoundedModule`.
        pre, mask, value: node names, by pre-activation, by mask block, and of the value of a gate, factor or
            product by its block.
        operators: the bound operators, by block; they remember the coefficients of the last backward pass.
        output: name of the output node.
    """

    module: Any
    pre: dict[int, str]
    mask: dict[int, str]
    value: dict[int, str]
    operators: dict[int, Any]
    output: str

    def forget_coefficients(self) -> None:
        """Called before a pass, so that the coefficients are of that pass only."""
        for operator in self.operators.values():
            operator.coefficients = (None, None)


def bounded_graph(program: Program, device: str) -> BoundedGraph:
    """Traces a program (without `AbsBlock`) in float64 on `device`."""
    import torch

    model = _module(program, device)
    sample = torch.zeros(1, program.input_size, dtype=torch.float64, device=device)
    kinds = dict(zip((ReluBlock, MaskBlock, GateBlock, ProductBlock), bound_classes(), strict=True))
    names = ("onnx::Relu", "salver::Step", "salver::Gate", "salver::Product")
    module = bounded_module(model, sample, dict(zip(names, kinds.values(), strict=True)))
    found: dict[type, list[Any]] = {kind: [] for kind in kinds.values()}
    for node in module._modules.values():
        if type(node) in found:
            found[type(node)].append(node)
    pre, mask, value, operators = {}, {}, {}, {}
    for number in sorted(live_blocks(program)):
        block = program.blocks[number]
        if isinstance(block, FactorBlock):
            continue
        node = operators[number] = found[kinds[type(block)]].pop(0)
        match block:
            case GateBlock():
                value[number] = node.inputs[1].name
            case ProductBlock():
                value[block.factor], value[number] = node.inputs[0].name, node.inputs[1].name
            case ReluBlock() | MaskBlock():
                pre[block.pre] = node.inputs[0].name
        if isinstance(block, MaskBlock):
            mask[number] = node.name
    return BoundedGraph(module, pre, mask, value, operators, module.final_name)


def _module(program: Program, device: str) -> Any:
    import torch

    step, gate, product = traced_functions()
    live = live_blocks(program)

    class Graph(torch.nn.Module):
        """x [batch, n] -> outputs [batch, rows]; one Linear per term of each affine map."""

        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.ModuleDict()

        def add(self, key: str, affine: Affine) -> None:
            terms = dict(affine.terms) or {-1: np.zeros((affine.size, program.input_size))}
            for position, (block, matrix) in enumerate(terms.items()):
                dense = matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)
                layer = torch.nn.Linear(dense.shape[1], dense.shape[0], dtype=torch.float64, device=device)
                constant = affine.constant if position == 0 else np.zeros(affine.size)
                layer.weight = torch.nn.Parameter(torch.as_tensor(dense, device=device), requires_grad=False)
                layer.bias = torch.nn.Parameter(
                    torch.as_tensor(constant.copy(), device=device), requires_grad=False
                )
                self.linear[f"{key}:{block}"] = layer

        def value(self, key: str, values: dict[int, Any]) -> Any:
            total = None
            for name, layer in self.linear.items():
                if name.startswith(key + ":"):
                    term = layer(values[int(name.rpartition(":")[2])])
                    total = term if total is None else total + term
            return total

        def forward(self, x: Any) -> Any:
            values, zs = {-1: x}, {}
            for number, block in enumerate(program.blocks):
                if number not in live:
                    continue
                if isinstance(block, GateBlock | FactorBlock | ProductBlock):
                    value = self.value(f"value{number}", values)
                    if isinstance(block, GateBlock):
                        value = gate.apply(values[block.mask], value)
                    elif isinstance(block, ProductBlock):
                        value = product.apply(values[block.factor], value)
                    values[number] = value
                    continue
                assert isinstance(block, ReluBlock | MaskBlock)
                if block.pre not in zs:
                    zs[block.pre] = self.value(f"pre{block.pre}", values)
                relu = isinstance(block, ReluBlock)
                values[number] = torch.relu(zs[block.pre]) if relu else step.apply(zs[block.pre])
            return self.value("output", values)

    graph = Graph()
    for number, point in enumerate(program.pre):
        graph.add(f"pre{number}", point.affine)
    for number, block in enumerate(program.blocks):
        if isinstance(block, GateBlock | FactorBlock | ProductBlock):
            graph.add(f"value{number}", block.value)
    graph.add("output", program.output)
    return graph.eval()
