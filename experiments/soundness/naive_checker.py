"""A second proof checker: plain fractions, one entry at a time, no rounding, nothing shared with the first.

Slow on purpose and for tiny networks only. Whatever the fast checker accepts must be accepted here.
"""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import numpy as np

from salver.nets import network as nets
from salver.nets import operators as ops
from salver.spec import Property

Entry = tuple[str, int]
Linear = dict[Entry, Fraction]
"""Coefficients; the key `ONE` holds the constant."""
ONE: Entry = ("", 0)
ZERO = Fraction(0)


class WrongError(Exception):
    """The proof does not show what it claims."""


class Model:
    """What makes every entry: (form, arguments), steps being entries of tensors `step:z`."""

    def __init__(self, network: nets.Network) -> None:
        self.shapes, self.roots = network.shapes, {network.input: network.input}
        self.kinds = {node.name: node for node in network.nodes}
        self.forms: dict[Entry, tuple[Any, ...]] = {}
        self.switches: set[str] = set()
        self.output, self.input = network.output, network.input
        for node in network.nodes:
            shaped = isinstance(node.operator, ops.Reshape)
            self.roots[node.name] = self.roots[node.inputs[0]] if shaped else node.name
            if not isinstance(node.operator, ops.Sign):
                for i in range(int(np.prod(node.shape))):
                    self.forms[node.name, i] = self.form(node, i)

    def mask(self, name: str) -> str | None:
        node = self.kinds.get(self.roots[name])
        if node and isinstance(node.operator, ops.Relu):
            sign = self.kinds.get(self.roots[node.inputs[0]])
            if sign and isinstance(sign.operator, ops.Sign):
                return self.switch(sign.inputs[0])
        return None

    def switch(self, name: str) -> str:
        self.switches.add(self.roots[name])
        return self.roots[name]

    def form(self, node: ops.Node, i: int) -> tuple[Any, ...]:
        match node.operator:
            case ops.Relu() if z := self.mask(node.name):
                return "affine", {("step:" + z, i): Fraction(1)}
            case ops.Relu() | ops.Abs():
                return type(node.operator).__name__.lower(), (self.switch(node.inputs[0]), i)
            case ops.Mul():
                mask, value = node.inputs if self.mask(node.inputs[0]) else node.inputs[::-1]
                if not self.mask(mask):
                    left, right = node.inputs
                    return "product", (self.roots[left], i), (self.roots[right], i)
                return "gate", (self.roots[value], i), ("step:" + str(self.mask(mask)), i)
        return "affine", {key: value for key, value in self.affine(node, i).items() if value}

    def affine(self, node: ops.Node, i: int) -> Linear:
        op, first = node.operator, node.inputs[0]
        match op:
            case ops.Linear():
                found = {(first, j): Fraction(float(w)) for j, w in enumerate(op.weight[i])}
                return {**found, ONE: Fraction(float(op.bias[i]))}
            case ops.Conv() | ops.ConvTranspose():
                return self.convolved(op, first, node.shape, i)
            case ops.Scale():
                scale, shift = (np.broadcast_to(p, node.shape).ravel()[i] for p in (op.scale, op.shift))
                return {(first, i): Fraction(float(scale)), ONE: Fraction(float(shift))}
            case ops.Add() | ops.Sub():
                found = {(first, i): Fraction(1)}
                second = (node.inputs[1], i)
                found[second] = found.get(second, ZERO) + (1 if isinstance(op, ops.Add) else -1)
                return found
            case ops.Concat():
                flat = [(name, j) for name in node.inputs for j in range(self.shapes[name][0])]
                return {flat[i]: Fraction(1)}
            case ops.Pick():
                return {(first, int(op.places[i])): Fraction(1)} if op.places[i] >= 0 else {}
            case ops.Transpose():
                at = np.unravel_index(i, node.shape)
                source = [int(at[op.axes.index(axis)]) for axis in range(len(at))]
                return {(first, int(np.ravel_multi_index(source, self.shapes[first]))): Fraction(1)}
        assert isinstance(op, ops.Reshape)
        return {(first, i): Fraction(1)}

    def convolved(self, op: Any, first: str, shape: tuple[int, ...], i: int) -> Linear:
        """By the definition, an output at a time; a transposed one asks which inputs reach it."""
        out, y, x = (int(v) for v in np.unravel_index(i, shape))
        source, forward = self.shapes[first], isinstance(op, ops.Conv)
        found: Linear = {ONE: Fraction(float(op.bias[out]))} if forward else {}
        for c, p, q in np.ndindex(*source):
            (o, oy, ox), (k, ky, kx) = ((out, y, x), (c, p, q)) if forward else ((c, p, q), (out, y, x))
            filters, inner = op.weight.shape[:2]
            if k // inner != o // (filters // op.groups):
                continue
            for a, b in np.ndindex(*op.weight.shape[2:]):
                down = oy * op.strides[0] - op.pads[0] + a * op.dilations[0]
                right = ox * op.strides[1] - op.pads[1] + b * op.dilations[1]
                if (down, right) == (ky, kx):
                    j = int(np.ravel_multi_index((c, p, q), source))
                    found[first, j] = found.get((first, j), ZERO) + Fraction(
                        float(op.weight[o, k % inner, a, b])
                    )
        return found


class Facts:
    """Ranges [low, high] of every entry and the alternatives left."""

    def __init__(self, model: Model, prop: Property) -> None:
        self.model, self.closed, self.range = model, False, {}
        for i, (low, high) in enumerate(zip(prop.input_lower, prop.input_upper, strict=True)):
            self.range[model.input, i] = [Fraction(float(low)), Fraction(float(high))]
        sizes = {model.input: len(prop.input_lower)}
        for name, i in model.forms:
            sizes[name] = max(sizes.get(name, 0), i + 1)
        for z in model.switches:
            for i in range(sizes[z]):
                self.range["step:" + z, i] = [ZERO, Fraction(1)]
        self.left = [set(range(len(clause))) for clause in prop.clauses]
        self.closed = not all(self.left)
        self.propagate()

    def copy(self) -> Facts:
        new = object.__new__(Facts)
        new.model, new.closed = self.model, self.closed
        new.range = {key: list(value) for key, value in self.range.items()}
        new.left = [set(part) for part in self.left]
        return new

    def propagate(self, affine: bool = True) -> None:
        for entry, _ in list(self.range.items()):
            self.settle(entry)
        for entry, (kind, *rest) in self.model.forms.items():
            if kind != "affine" or affine:
                self.meet(entry, *self.interval(kind, *rest))

    def interval(self, kind: str, first: Any, step: Entry | None = None) -> tuple[Fraction, Fraction]:
        if kind == "affine":
            base = first.get(ONE, ZERO)
            pairs = [sorted(c * v for v in self.range[e]) for e, c in first.items() if e != ONE]
            return base + sum(p[0] for p in pairs), base + sum(p[1] for p in pairs)
        low, high = self.range[first]
        if kind == "product":
            assert step is not None
            ends = [one * other for one in (low, high) for other in self.range[step]]
            if first == step:
                ends = [max(low, -high, ZERO) ** 2, max(-low, high) ** 2]
            return min(ends), max(ends)
        step_low, step_high = self.range[step or ("step:" + first[0], first[1])]
        if kind == "abs":
            return max(low, -high, ZERO), max(-low, high)
        if step_high <= 0:
            return ZERO, ZERO
        if kind == "relu" or step_low > 0:
            return (max(low, ZERO), max(high, ZERO)) if kind == "relu" else (low, high)
        return min(low, ZERO), max(high, ZERO)

    def meet(self, entry: Entry, low: Fraction, high: Fraction) -> None:
        now = self.range.setdefault(entry, [low, high])
        now[:] = max(now[0], low), min(now[1], high)
        self.closed |= now[0] > now[1]
        self.settle(entry)

    def settle(self, entry: Entry) -> None:
        step = self.range.get(("step:" + entry[0], entry[1]))
        if step:
            low, high = self.range[entry]
            step[:] = max(step[0], Fraction(int(low > 0))), min(step[1], Fraction(int(high > 0)))
            self.closed |= step[0] > step[1]

    def decide(self, switch: str, at: int, side: int) -> None:
        self.meet(("step:" + switch, at), Fraction(side), Fraction(side))
        low, high = self.range[switch, at]
        self.meet((switch, at), max(low, ZERO) if side else low, high if side else min(high, ZERO))

    def least(self, row: Linear, assumed: dict[Entry, int]) -> Fraction:
        """Lower bound of an affine function."""
        row = dict(row)
        total = row.pop(ONE, ZERO)
        for entry, (kind, *rest) in reversed(self.model.forms.items()):
            weight = row.pop(entry, ZERO)
            if not weight:
                continue
            if kind == "affine":
                terms = rest[0]
            elif kind == "abs" and (self.range[rest[0]][0] >= 0 or self.range[rest[0]][1] <= 0):
                terms = {rest[0]: Fraction(1 if self.range[rest[0]][0] >= 0 else -1)}
            elif kind == "product":
                total += min(weight * bound for bound in self.range[entry])
                continue
            else:
                step = self.range[rest[1] if kind == "gate" else ("step:" + rest[0][0], rest[0][1])]
                if kind == "abs" or (step[0] <= 0 and step[1] > 0):
                    total += min(weight * bound for bound in self.range[entry])
                    continue
                terms = {rest[0]: Fraction(1)} if step[0] > 0 else {}
            for source, factor in terms.items():
                if source == ONE:
                    total += weight * factor
                else:
                    row[source] = row.get(source, ZERO) + weight * factor
        for entry, weight in row.items():
            bounds = [Fraction(assumed[entry])] if entry in assumed else self.range[entry]
            total += min(weight * bound for bound in bounds)
        return total


def known_row(facts: Facts, kind: str, name: str, i: int) -> Linear:
    """A function that is >= 0, each as an inequality of real numbers says it."""
    t, forms = (name, i), facts.model.forms
    if kind in ("low", "high"):
        low, high = facts.range[t]
        return {t: Fraction(1), ONE: -low} if kind == "low" else {t: Fraction(-1), ONE: high}
    if kind.startswith("product"):
        return _product_row(facts, kind, t)
    if kind.startswith("step"):
        if name not in facts.model.switches:
            raise WrongError(kind)
        z, m = t, ("step:" + name, i)
    else:
        form, z, *rest = forms[t]
        if form != kind.split("_", maxsplit=1)[0]:
            raise WrongError(kind)
        m = rest[0] if rest else ("step:" + z[0], z[1])
    lo, up = facts.range[z]
    one = Fraction(1)
    return {
        "step_on": {m: up, z: -one},
        "step_off": {z: one, m: lo, ONE: -lo},
        "relu_z": {t: one, z: -one},
        "relu_on": {m: up, t: -one},
        "relu_off": {z: one, m: lo, t: -one, ONE: -lo},
        "gate_low": {t: one, m: -lo},
        "gate_high": {m: up, t: -one},
        "gate_on": {t: one, z: -one, m: -up, ONE: up},
        "gate_off": {z: one, t: -one, m: lo, ONE: -lo},
        "abs_pos": {t: one, z: -one},
        "abs_neg": {t: one, z: one},
        "abs_on": {z: one, t: -one, m: 2 * lo, ONE: -2 * lo},
        "abs_off": {m: 2 * up, t: -one, z: -one},
    }[kind]


def _product_row(facts: Facts, kind: str, q: Entry) -> Linear:
    """Of q = f v: the product of two distances from ends of ranges, or a square, is >= 0."""
    form, f, v = facts.model.forms[q]
    if form != "product":
        raise WrongError(kind)
    if kind == "product_middle":
        if f != v:
            raise WrongError(kind)
        middle = sum(facts.range[f], ZERO) / 2
        return {q: Fraction(1), f: -2 * middle, ONE: middle * middle}
    under, side = (
        {"under": True, "over": False}[kind.split("_")[1]],
        ("low", "high").index(kind.split("_")[2]),
    )
    by_v, by_f = facts.range[f][side], facts.range[v][side if under else 1 - side]
    sign = 1 if under else -1
    row = {q: Fraction(sign), ONE: sign * by_v * by_f}
    for entry, factor in ((v, by_v), (f, by_f)):
        row[entry] = row.get(entry, ZERO) - sign * factor
    return row


def _sums(facts: Facts, prop: Property, step: Any, sums: list[Linear]) -> list[Linear]:
    for kind, name, lemmas, entries, weights in step["by"]:
        for lemma, entry, weight in zip(lemmas, entries, weights, strict=True):
            if weight < 0:
                raise WrongError("negative multiplier")
            if kind == "atom":
                clause, part, number = entry
                mine = step["do"] == "drop" and step["clause"] == clause and step["parts"][lemma] == part
                if not mine and facts.left[clause] != {part}:
                    raise WrongError("atom")
                atom = prop.clauses[clause][part][number]
                sign, output = (1 if atom.relation == ">=" else -1), facts.model.output
                row = {(output, atom.left): Fraction(sign)}
                other = ONE if atom.other is None else (output, atom.other)
                size = Fraction(atom.constant) if atom.other is None else Fraction(1)
                row[other] = row.get(other, ZERO) - sign * size
            else:
                row = known_row(facts, kind, name, entry)
            for key, value in row.items():
                sums[lemma][key] = sums[lemma].get(key, ZERO) - Fraction(weight) * value
    return sums


def _apply(facts: Facts, prop: Property, step: Any) -> list[Facts]:
    kind, at = step["do"], step.get("at", [])
    match kind:
        case "split":
            if step["switch"] not in facts.model.switches:
                raise WrongError("no switch")
            sides = [facts.copy(), facts]
            for side, branch in enumerate(sides):
                branch.decide(step["switch"], at, side)
            return sides
        case "divide":
            sides, entry = [facts.copy(), facts], (facts.model.input, at)
            for side, branch in enumerate(sides):
                low, high = branch.range[entry]
                where = Fraction(step["where"])
                branch.meet(entry, max(low, where) if side else low, high if side else min(high, where))
            return sides
        case "case":
            branches = [facts.copy() for _ in facts.left[step["clause"]]]
            for branch, part in zip(branches, sorted(facts.left[step["clause"]]), strict=True):
                branch.left[step["clause"]] = {part}
            return branches[::-1]
        case "propagate":
            facts.propagate()
            return [facts]
        case "bound":
            signs = [1 if side else -1 for side in step["lower"]]
            sums = [{(step["tensor"], i): Fraction(s)} for i, s in zip(at, signs, strict=True)]
            least = [facts.least(row, {}) for row in _sums(facts, prop, step, sums)]
            for i, s, value in zip(at, signs, least, strict=True):
                low, high = facts.range[step["tensor"], i]
                facts.meet((step["tensor"], i), value if s > 0 else low, high if s > 0 else -value)
            return [facts]
    count = {"decide": len(at), "drop": len(step.get("parts", [])), "close": 1}[kind]
    sums = _sums(facts, prop, step, [{} for _ in range(count)])
    for lemma, row in enumerate(sums):
        pair = {("step:" + step["switch"], at[lemma]): step["side"][lemma]} if kind == "decide" else {}
        if facts.least(row, pair) <= 0:
            raise WrongError(f"no contradiction in {kind} {lemma}")
    if kind == "decide":
        for i, side in zip(at, step["side"], strict=True):
            facts.decide(step["switch"], i, 1 - side)
    elif kind == "drop":
        facts.left[step["clause"]] -= set(step["parts"])
        facts.closed |= not facts.left[step["clause"]]
    else:
        facts.closed = True
    return [facts]


def naive_check(network: nets.Network, prop: Property, steps: list[Any]) -> None:
    """Raises: WrongError: the steps are no proof. Malformed ones may raise anything."""
    walk = [Facts(Model(network), prop)]
    for step in itertools.chain(steps, [None]):
        while walk and walk[-1].closed:
            walk.pop()
        if step is None or not walk:
            break
        left = _apply(walk.pop(), prop, step)
        for facts in left:
            facts.propagate(affine=False)
        walk += left
    if walk or step is not None:
        raise WrongError("parts are left open, or steps are left over")
