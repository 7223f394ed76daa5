"""`hybrid`: bounds, attack, then branching until every part has a certificate; complete, and sound by replay.

The root is bounded first, which alone proves many unsatisfiable queries; a short gradient attack finds
most satisfiable ones; what is left is searched (`tree`, `parallel`). docs/solving.md has the measurements.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from salver.solvers.alternatives import without_refuted
from salver.solvers.bounding.forward import MOST_INPUTS
from salver.solvers.bounding.reduced import Reduction
from salver.solvers.bounding.stacked import stacked
from salver.solvers.hybrid.node import (
    SearchNode,
    begun_reduction,
    class_alone,
    reduced_root,
    root_node,
    tighten,
)
from salver.solvers.journal import Journal
from salver.solvers.query import Budget, Options, Query, Result, Verdict

if TYPE_CHECKING:
    from salver.solvers.hybrid.class_tree import ClassTree
    from salver.solvers.hybrid.turns import CoverTurns

ATTACK_SHARE, ATTACK_MOST_S = 0.2, 3.0
"""Of the time that is given, and seconds, that the rounds before the search may take."""
AHEAD, AHEAD_MOST = 8.0, 0.5
"""Times as long as the network takes to bound that the tree about the class may go on before the map is
bounded, which takes longer than that on convolutional networks; and the most of what is left."""


def solve(query: Query, budget: Budget, options: Options) -> Result:
    """Decides a query; `unknown` only where solutions lie too close to z = 0 to survive replay, or miss by
    less than rounding.

    Raises:
        UnsupportedQueryError: operators outside `Program`.
    """
    started = time.monotonic()
    if not options.record:  # a proof names the tensors of the file, copy by copy
        query = query.over(stacked(query.program))
    reduction = None if "reduction" in options.without else begun_reduction(query)
    classes = None
    if reduction is not None and "classes" not in options.without and not options.record:
        classes = _classes_first(query, reduction, budget, started)
        if classes is not None and classes.turn(budget):
            return classes.result
    query, whole = (query, root_node(query)) if reduction is None else reduced_root(query, reduction)
    if "alternatives" not in options.without:
        query = without_refuted(query, whole.within)
    # Workers of several processes would have to send what they found.
    journal = Journal(program=query.program) if options.record and options.threads == 1 else None
    begun = time.monotonic()
    bounds = tighten(query, replace(whole, journal=journal), options.without)
    took = time.monotonic() - begun
    if bounds is None:
        kept = Journal(program=query.program, at_root=True) if options.record else None
        return Result(Verdict.UNSAT, reason="closed by bounds at the root", journal=kept)
    # The modules of the attack and of the search take longer to import than many queries take to decide.
    attack = None
    if "attack" not in options.without:
        from salver.solvers.attack.falsify import Descent
        from salver.solvers.hybrid.turns import AttackTurns

        short = Budget(min(ATTACK_MOST_S, ATTACK_SHARE * budget.seconds, budget.left))
        descent = Descent.start(query, options.seed)
        witness = descent.run(short, rounds=4)
        if witness is not None:
            return Result(Verdict.SAT, witness)
        attack = AttackTurns(descent, longest=(short.seconds - short.left) / max(descent.rounds, 1))
    root = SearchNode(dict(enumerate(bounds.signs)), bounds, journal=journal)
    if options.threads > 1:
        from salver.solvers.hybrid.parallel import search_in_parallel

        return search_in_parallel(query, budget, options, root, attack)
    from salver.solvers.hybrid.class_tree import ClassTree
    from salver.solvers.hybrid.tree import search

    cover = _cover(query, options, root, took)
    if classes is None and "classes" not in options.without:
        classes = ClassTree(query, bounds, journal is not None, started=started)
    result = search(query, budget, options, [root], attack=attack, cover=cover, classes=classes)
    if journal is not None and classes is not None and classes.closed:
        journal.children, journal.closing = classes.journal.children, classes.journal.closing
        journal.passes = []  # most of what they say is about the map
    return replace(result, journal=journal)


def _classes_first(query: Query, reduction: Reduction, budget: Budget, started: float) -> ClassTree | None:
    """The tree about the class over the network alone, where even that takes long to bound."""
    alone = class_alone(query, reduction)
    if alone is None:
        return None
    from salver.solvers.hybrid.class_tree import ClassTree

    took = time.monotonic() - started
    return ClassTree(*alone, started=started, wait=0.0, granted=min(AHEAD * took, AHEAD_MOST * budget.left))


def _cover(query: Query, options: Options, root: SearchNode, took: float) -> CoverTurns | None:
    """A cover of the box; None for many inputs, and where it is left out.

    Args:
        took: seconds of bounding the root.
    """
    if "inputs" in options.without or query.program.input_size > MOST_INPUTS:
        return None
    from salver.solvers.hybrid.cover import Cover
    from salver.solvers.hybrid.turns import CoverTurns

    return CoverTurns(Cover(query, root.within, root.journal), longest=took)
