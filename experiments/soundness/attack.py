"""Attacks the proof checker where a deduction can be compared with points: nothing it says may exclude one.

    python -m experiments.soundness.attack --seconds 300 --seed 0

Random networks with everything in odd places (a ReLU or Abs of a gate, products, masks in sums, switches
behind reshapes, copies of a ReLU, transposed convolutions, denormal and huge weights), and points where it
turns: corners, kinks, z = 0 exactly. Their values are exact fractions. Every property is met by a point with
a slack between 1e-9 and nothing at all, so each of these must fail: a bound above a value that is taken, a
refuted side or alternative that a point has, a closed context. Multipliers climb towards the strongest sum.
"""

from __future__ import annotations

import sys
from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np

from experiments.soundness.naive_checker import ONE as CONSTANT
from experiments.soundness.naive_checker import Entry, Model
from experiments.soundness.seeds import Examined, examine_seeds, parser_of
from experiments.soundness.stated import graph_of
from salver.nets import network as nets
from salver.nets import operators as ops
from salver.proofs.checker import Checker
from salver.proofs.context import Context
from salver.proofs.graph import STEP, Abs, Gate, Relu, Times
from salver.proofs.row_sum import ABS_ROWS, GATE_ROWS, PRODUCT_ROWS, RELU_ROWS, STEP_ROWS, RowSum
from salver.solvers.proving.statement import exact
from salver.spec import Atom, Property

Values = dict[Entry, Fraction]
LEMMAS = 24
ROUNDS = 3
CLIMBS = 5


def odd_network(rng: np.random.Generator) -> nets.Network:
    """A random graph over 2 x 2 images whose tensors have 4 entries each, and an output of 4 or 8."""
    scale = 2.0 ** float(rng.choice([0, 0, 0, -20, -140, 40]))
    nodes = [ops.Node("n0", ops.Reshape(), ("X",), (1, 2, 2))]
    kinds = "relu relu mask gate gate product square abs add sub scale conv transpose linear reshape".split()

    def emit(operator: ops.Operator, *inputs: str) -> str:
        shape = (1, 2, 2)
        if isinstance(operator, ops.Linear):
            shape, flat = (4,), f"n{len(nodes)}"
            nodes.append(ops.Node(flat, ops.Reshape(), inputs, shape))
            inputs = (flat,)
        nodes.append(ops.Node(f"n{len(nodes)}", operator, inputs, shape))
        return nodes[-1].name

    def weights(*shape: int) -> Any:
        drawn = rng.integers(-4, 5, shape) / 2.0 if rng.random() < 0.6 else rng.normal(0, 1, shape)
        return np.asarray(drawn * (scale if rng.random() < 0.2 else 1.0), np.float32)

    images = ["n0", emit(ops.Scale(weights(1, 2, 2), weights(1, 1, 1)), "n0")]
    for kind in rng.choice(kinds, int(rng.integers(4, 11))):
        source, other = (str(name) for name in rng.choice(images, 2))
        source = images[-1] if rng.random() < 0.6 else source
        match kind:
            case "relu":
                images.append(emit(ops.Relu(), source))
            case "abs":
                images.append(emit(ops.Abs(), source))
            case "mask" | "gate":
                mask = emit(ops.Relu(), emit(ops.Sign(), source))
                pair = (mask, other) if rng.random() < 0.5 else (other, mask)
                images.append(mask if kind == "mask" else emit(ops.Mul(), *pair))
            case "product" | "square":
                images.append(emit(ops.Mul(), source, source if kind == "square" else other))
            case "add" | "sub":
                images.append(emit(ops.Add() if kind == "add" else ops.Sub(), source, other))
            case "scale":
                images.append(emit(ops.Scale(weights(1, 2, 2), weights(1, 1, 1)), source))
            case "conv":
                operator = ops.Conv(weights(1, 1, 2, 2), weights(1), pads=(1, 0, 0, 1))
                images.append(emit(operator, source))
            case "transpose":
                images.append(emit(ops.ConvTranspose(weights(1, 1, 2, 2), pads=(0, 1, 1, 0)), source))
            case "linear":
                images.append(emit(ops.Reshape(), emit(ops.Linear(weights(4, 4), weights(4)), source)))
            case _:
                images.append(emit(ops.Reshape(), source))
    last = [images[-1], str(rng.choice(images))]
    flat = []
    for name in last:
        nodes.append(ops.Node(f"n{len(nodes)}", ops.Reshape(), (name,), (4,)))
        flat.append(nodes[-1].name)
    nodes.append(ops.Node("Y", ops.Concat(), tuple(flat), (8,)))
    return nets.Network("X", 4, tuple(nodes), "Y")


def exact_values(model: Model, x: np.ndarray) -> Values:
    """Every entry and step at a point."""
    values: Values = {(model.input, i): Fraction(float(v)) for i, v in enumerate(x)}

    def step(z: Entry) -> Fraction:
        return Fraction(int(values[z] > 0))

    for entry, (kind, first, *rest) in model.forms.items():
        if kind == "affine":
            values[entry] = sum(
                (
                    c
                    * (1 if e == CONSTANT else values[e] if e in values else step((e[0][len(STEP) :], e[1])))
                    for e, c in first.items()
                ),
                Fraction(0),
            )
        elif kind == "product":
            values[entry] = values[first] * values[rest[0]]
        elif kind == "gate":
            (switch, i), value = rest[0], values[first]
            values[entry] = step((switch[len(STEP) :], i)) * value
        else:
            values[entry] = abs(values[first]) if kind == "abs" else max(values[first], Fraction(0))
    for name, i in list(values):
        if name in model.switches:
            values[STEP + name, i] = step((name, i))
    return values


def _points(rng: np.random.Generator, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Corners, points with coordinates on the grid where dyadic networks have their kinks, and others."""
    corners = np.where(rng.random((6, 4)) < 0.5, low, high)
    grid = np.clip(rng.integers(-4, 5, (6, 4)) / 4.0, low, high)
    return np.vstack([corners, grid, rng.uniform(low, high, (4, 4))])


def thin_property(rng: np.random.Generator, low: Any, high: Any, values: Values) -> Property:
    """Clauses that a point with these outputs meets with almost no slack."""
    clauses = []
    for _ in range(int(rng.integers(1, 5))):
        holding = int(rng.integers(3))
        clause = []
        for part in range(int(rng.integers(holding + 1, 4))):
            atoms = []
            for _ in range(int(rng.integers(1, 4))):
                left, other = (int(k) for k in rng.integers(0, 8, 2))
                slack = float(rng.choice([0.0, 1e-15, 1e-12, 1e-9])) * (1 if part == holding else -1)
                upper = bool(rng.random() < 0.5)
                if rng.random() < 0.3 and part != holding:
                    atoms.append(Atom(left, "<=" if upper else ">=", other=other))
                elif abs(values["Y", left]) < 1e30:
                    atoms.append(_thin(left, values["Y", left], slack, upper, part == holding))
            clause.append(tuple(atoms))
        clauses.append(tuple(clause))
    return Property(low, high, tuple(clauses), 8)


def _thin(left: int, value: Fraction, slack: float, upper: bool, holds: bool) -> Atom:
    limit = float(value) + (slack if upper else -slack)
    while holds and (Fraction(limit) < value if upper else Fraction(limit) > value):
        limit = float(np.nextafter(limit, np.inf if upper else -np.inf))
    return Atom(left, "<=" if upper else ">=", constant=limit)


def satisfied(atoms: tuple[Atom, ...], values: Values) -> bool:
    """Whether a conjunction holds exactly."""
    for atom in atoms:
        right = Fraction(atom.constant) if atom.other is None else values["Y", atom.other]
        slack = values["Y", atom.left] - right
        if (slack if atom.relation == ">=" else -slack) < 0:
            return False
    return True


def allowed(context: Context, values: Values) -> bool:
    """Whether a context still has the point: in all ranges, and not closed."""
    one = context.unit.one
    inside = all(
        Fraction(int(context.low[name][i]), one) <= value <= Fraction(int(context.high[name][i]), one)
        for (name, i), value in values.items()
    )
    met = all(
        any(satisfied(clause[part], values) for part in left)
        for clause, left in zip(context_clauses(context), context.alternatives, strict=True)
    )
    return inside and met and not context.closed


def context_clauses(context: Context) -> Any:
    """The clauses that the attacked query has; kept beside its graph."""
    return context.graph.__dict__["attacked"]


class CheckerAttack:
    """One query and the points that meet it."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = np.random.default_rng((seed, 7))
        network = odd_network(rng)
        self.graph, model = graph_of(network), Model(network)
        low = rng.integers(-4, 1, 4) / 4.0
        high = low + rng.integers(0, 7, 4) / 4.0
        seen = [exact_values(model, x) for x in _points(rng, low, high)]
        # The file has a tensor more than the network where a scale has a shift.
        self.known = [name for name in self.graph.sizes if (name, 0) in seen[0]]
        self.prop = thin_property(rng, low, high, seen[int(rng.integers(len(seen)))])
        self.graph.__dict__["attacked"] = self.prop.clauses
        self.points = [v for v in seen if all(any(satisfied(p, v) for p in c) for c in self.prop.clauses)]
        self.checker, self.counts, self.wrong = Checker(self.graph, exact(self.prop)), Counter[str](), []
        rows = {Relu: RELU_ROWS, Gate: GATE_ROWS, Abs: ABS_ROWS, Times: PRODUCT_ROWS}
        self.kinds = [(k, name) for name, form in self.graph.forms.items() for k in rows.get(type(form), ())]
        self.kinds += [(k, name) for name in self.graph.switches for k in STEP_ROWS]
        squares = [
            n for n, form in self.graph.forms.items() if isinstance(form, Times) and form.left == form.right
        ]
        self.kinds += [("product_middle", name) for name in squares]
        self.kinds += [(k, name) for name in self.graph.sizes for k in ("low", "high")]

    def run(self) -> None:
        """Follows one point through random deductions and splits."""
        context = Context.start(self.graph, exact(self.prop))
        for _ in range(ROUNDS):
            context = self._certain(context)
            points = [values for values in self.points if allowed(context, values)]
            if not points:
                self.wrong.append("a point that meets the query is in no context")
                return
            self._bounds(context, points)
            self._contradictions(context, points)
            context = self._branch(context, points[int(self.rng.integers(len(points)))])

    def _certain(self, context: Context) -> Context:
        if self.rng.random() < 0.5:
            context.propagate()
        return context

    def _branch(self, context: Context, values: Values) -> Context:
        several = [c for c, left in enumerate(context.alternatives) if len(left) > 1]
        if self.rng.random() < 0.3:
            entry = int(self.rng.integers(4))
            near = float(values[self.graph.network.input, entry])
            step: Any = {
                "do": "divide",
                "at": entry,
                "where": near + float(self.rng.choice([0.0, 1e-17, -0.3])),
            }
        elif several and self.rng.random() < 0.5:
            step = {"do": "case", "clause": int(self.rng.choice(several))}
        elif self.graph.switches:
            switch = str(self.rng.choice(self.graph.switches))
            step = {"do": "split", "switch": switch, "at": int(self.rng.integers(4))}
        else:
            return context
        branches = self.checker.apply(context, step)
        self.counts["branches"] += 1
        return next((branch for branch in branches if allowed(branch, values)), branches[0])

    def _rows(self, start: Any, atoms: Any) -> list[list[Any]]:
        """Some rows for each deduction, most at its own entry, with multipliers of very different sizes."""
        count, share = len(start), self.rng.choice([0.08, 0.2, 0.5])
        by, focus = [], self.rng.integers(0, 4, count)
        for lemma, (name, entry, _) in enumerate(start):
            focus[lemma] = entry % 4 if name else focus[lemma]
        for kind, name in self.kinds:
            if self.rng.random() < share:
                size = int(self.rng.integers(1, 2 * count + 1))
                weights = self.rng.choice([1.0, 1.0, 0.5, 2.0, 1 / 3, 1e-9, 1e6, 3e-15], size)
                weights = weights * self.rng.choice([1.0, 1.0, self.rng.random()])
                lemmas = self.rng.integers(0, count, size)
                entries = np.where(self.rng.random(size) < 0.8, focus[lemmas], self.rng.integers(0, 4, size))
                entries %= self.graph.sizes[name]
                by.append([kind, name, lemmas.tolist(), entries.tolist(), weights.tolist()])
        for place, lemma in atoms:
            by.append(["atom", "", [lemma], [list(place)], [float(self.rng.choice([1.0, 0.5, 1e3, 1e-6]))]])
        return by

    def _climb(self, context: Context, step: Any, start: Any, atoms: Any, assumed: Any) -> np.ndarray:
        """Best lower bounds [lemmas] that changed multipliers give, in integers times the unit."""
        count, parts = len(start), step.get("parts", [])
        best = np.array([-(10**600)] * count, dtype=object)
        by: list[list[Any]] = self._rows(start, atoms)
        for _ in range(CLIMBS):
            trial = [[*g[:4], [w * float(self.rng.choice([0, 1, 1, 2, 0.5])) for w in g[4]]] for g in by]
            sum_ = RowSum(
                self.checker.graph, self.checker.atoms, context, count, step.get("clause", -1), parts
            )
            for lemma, (name, entry, sign) in enumerate(start):
                if name:
                    sum_.add(
                        name,
                        np.array([lemma]),
                        np.array([entry]),
                        np.array([sign * context.unit.one], dtype=object),
                    )
            sum_.subtract_rows(trial)
            found = sum_.least(assumed)
            self.counts[f"tries of {step['do']}"] += count
            better = found > best
            best = np.where(better, found, best)
            if better.mean() > 0.3:
                by = trial
        return best

    def _bounds(self, context: Context, points: list[Values]) -> None:
        names, one = [str(name) for name in self.rng.choice(self.known, LEMMAS)], context.unit.one
        start = [
            (n, int(self.rng.integers(self.graph.sizes[n])), int(self.rng.choice([-1, 1]))) for n in names
        ]
        best = self._climb(context, {"do": "bound"}, start, self._sure(context, LEMMAS), {})
        for (name, entry, sign), value in zip(start, best, strict=True):
            least = min(sign * values[name, entry] for values in points)
            if Fraction(int(value), one) > least:
                self.wrong.append(
                    f"bound of {name}[{entry}] is {float(Fraction(int(value), one) - least)} above"
                )

    def _sure(self, context: Context, count: int) -> list[Any]:
        found = []
        for clause, left in enumerate(context.alternatives):
            if len(left) == 1:
                (part,) = left
                for number in range(len(self.prop.clauses[clause][part])):
                    if self.rng.random() < 0.7:
                        found.append(((clause, part, number), int(self.rng.integers(count))))
        return found

    def _contradictions(self, context: Context, points: list[Values]) -> None:
        sure = self._sure(context, 1)
        if (self._climb(context, {"do": "close"}, [("", 0, 0)], sure, {}) > 0).any():
            self.wrong.append("a context with a point is closed")
        for switch in self.graph.switches[:: int(self.rng.integers(1, 4))]:
            pairs = [(i, side) for i in range(4) for side in (0, 1)]
            pairs = [(i, s) for i, s in pairs if any(v[STEP + switch, i] == s for v in points)]
            assumed = {lemma: (switch, i, side) for lemma, (i, side) in enumerate(pairs)}
            start, sure = [("", 0, 0)] * len(pairs), self._sure(context, len(pairs))
            if (self._climb(context, {"do": "decide"}, start, sure, assumed) > 0).any():
                self.wrong.append(f"a side of {switch} that a point has is refuted")
        for clause, left in enumerate(context.alternatives):
            parts = [p for p in left if any(satisfied(self.prop.clauses[clause][p], v) for v in points)]
            step = {"do": "drop", "clause": clause, "parts": parts}
            own = [
                ((clause, p, n), lemma)
                for lemma, p in enumerate(parts)
                for n in range(len(self.prop.clauses[clause][p]))
            ]
            own += self._sure(context, len(parts))
            if (self._climb(context, step, [("", 0, 0)] * len(parts), own, {}) > 0).any():
                self.wrong.append(f"an alternative of clause {clause} that a point meets is refuted")


def examine(seed: int) -> Examined:
    """Counts and the first complaints of one seed; nothing where its property has no point."""
    attack = CheckerAttack(seed)
    if not attack.points:
        return Counter(), []
    attack.run()
    return attack.counts + Counter({"queries": 1}), attack.wrong[:3]


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    return examine_seeds(parser_of(__doc__).parse_args(arguments), lambda _, seed: examine(seed))


if __name__ == "__main__":
    sys.exit(main())
