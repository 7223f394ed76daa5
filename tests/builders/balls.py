"""Queries over balls in the plane whose answer is known: distances to a violation, by geometry alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations, product
from pathlib import Path

import numpy as np
import torch

from salver.explain.unroll import logit_combination, unroll
from salver.nets.network import Network
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.torch_bridge import from_torch
from salver.solvers.query import Query
from salver.spec import Atom, Property, ball_around, box_clauses

LOGITS = 2


@dataclass(frozen=True, eq=False)
class PlaneQuery:
    """A query over inputs in the plane.

    Attributes:
        query: over the whole box.
        centre: xhat [2], binary32.
        nearest: distance from xhat to the nearest solution whose masks may be closed at z = 0, inf for none.
        certain: the same with room to all z = 0; where the two differ, rounding decides between them.
    """

    query: Query
    centre: np.ndarray
    nearest: float
    certain: float

    def within(self, epsilon: float) -> Query:
        """The query cut to a ball."""
        ball = ball_around(self.centre.astype(np.float32), epsilon)
        return self.query.asking(replace(self.query.prop, ball=ball))


def plane_query(folder: Path, seed: int, hidden: int = 4) -> PlaneQuery:
    """A network 2-hidden-2 and a question of its gradient or of its class alone, at a random point."""
    rng = np.random.default_rng(seed)
    w1, b1 = rng.normal(size=(hidden, 2)), rng.normal(0.0, 0.5, hidden)
    w2, b2 = rng.normal(size=(LOGITS, hidden)), rng.normal(0.0, 0.3, LOGITS)
    weights = [w.astype(np.float32).astype(np.float64) for w in (w1, b1, w2, b2)]
    w1, b1, w2, b2 = weights
    centre = rng.uniform(-1.0, 1.0, 2).astype(np.float32).astype(np.float64)
    active = (w1 @ centre + b1 > 0).astype(float)
    label = int((w2 @ (active * (w1 @ centre + b1)) + b2).argmax())
    here = (w2[label] * active) @ w1
    wins = (((Atom(1 - label, ">=", other=label),),),)
    delta = float(10 ** rng.uniform(-1.0, 0.5))
    moved = tuple((Atom(LOGITS + j, ">=", constant=float(np.float32(here[j] + delta))),) for j in range(2))
    moved += tuple((Atom(LOGITS + j, "<=", constant=float(np.float32(here[j] - delta))),) for j in range(2))
    least, most = ((here + sign * delta).astype(np.float32).astype(np.float64) for sign in (-1, 1))
    same = (*box_clauses(LOGITS, least, most), *wins)
    clauses = [wins, (moved,), same][int(rng.integers(3))]
    side = float(rng.choice([0.5, 2.0, 4.0]))
    low, high = ((centre + sign * side).astype(np.float32).astype(np.float64) for sign in (-1, 1))
    if rng.random() < 0.5:
        low[0] = centre[0]
    network = unroll(_classifier(weights), logit_combination(LOGITS, label), "raw")
    path = folder / f"plane-{seed}.onnx"
    path.write_bytes(to_bytes(to_model(network)))
    prop = Property(low, high, clauses, network.output_size)
    nearest, certain = (_distance(weights, label, prop, centre, room) for room in (0.0, 1e-5))
    return PlaneQuery(Query(path, network, prop), centre, nearest, certain)


def _classifier(weights: list[np.ndarray]) -> Network:
    layers = []
    for weight, bias in (weights[:2], weights[2:]):
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
        layer.weight.data = torch.tensor(weight, dtype=torch.float32)
        layer.bias.data = torch.tensor(bias, dtype=torch.float32)
        layers += [layer, torch.nn.ReLU()]
    return from_torch(torch.nn.Sequential(*layers[:-1]), 2)


def _distance(
    weights: list[np.ndarray], label: int, prop: Property, centre: np.ndarray, room: float
) -> float:
    w1, b1, w2, b2 = weights
    box = np.vstack([np.eye(2), -np.eye(2)]), np.concatenate([prop.input_lower, -prop.input_upper])
    best = np.inf
    for pattern in product((0.0, 1.0), repeat=len(b1)):
        on = np.array(pattern)
        sign = 2 * on - 1
        rows, least = sign[:, None] * w1, -sign * b1 + room
        outputs = np.vstack([w2 @ (on[:, None] * w1), np.zeros((2, 2))])
        shifts = np.concatenate([w2 @ (on * b1) + b2, (w2[label] * on) @ w1])
        for atoms in product(*prop.clauses):
            chosen = [_row(atom, outputs, shifts) for part in atoms for atom in part]
            matrix = np.vstack([box[0], rows, *(row[None] for row, _ in chosen)])
            limits = np.concatenate([box[1], least, [limit + room for _, limit in chosen]])
            best = min(best, _to_polygon(matrix, limits, centre))
    return best


def _row(atom: Atom, outputs: np.ndarray, shifts: np.ndarray) -> tuple[np.ndarray, float]:
    """row @ x >= limit for an atom of outputs @ x + shifts."""
    row, shift = outputs[atom.left], shifts[atom.left] - atom.constant
    if atom.other is not None:
        row, shift = row - outputs[atom.other], shift - shifts[atom.other]
    return (row, -shift) if atom.relation == ">=" else (-row, shift)


def _to_polygon(matrix: np.ndarray, limits: np.ndarray, centre: np.ndarray) -> float:
    """Distance from a point to {x : matrix x >= limits}: it is reached inside, on an edge or at a corner."""
    points = [centre]
    sides = [i for i in range(len(limits)) if np.abs(matrix[i]).max() > 1e-12]
    for i in sides:
        row = matrix[i]
        points.append(centre + row * (limits[i] - row @ centre) / (row @ row))
    for i, j in combinations(sides, 2):
        pair = matrix[[i, j]]
        if abs(np.linalg.det(pair)) > 1e-12:
            points.append(np.linalg.solve(pair, limits[[i, j]]))
    found = np.array(points)
    inside = (found @ matrix.T >= limits - 1e-9 * (1 + np.abs(limits))).all(axis=1)
    return float(np.linalg.norm(found[inside] - centre, axis=1).min(initial=np.inf))
