"""salver's own complete solver: attack, backward saliency propagation, branching, exact leaves."""

from typing import ClassVar

from salver.runners.contract import EmbeddedRunner


class Hybrid(EmbeddedRunner):
    name = "hybrid"
    needs: ClassVar = ("highspy", "pyscipopt")
    devices: ClassVar = frozenset({"cpu", "cuda"})
    complete = True
    proof_file = "unsat.proof"
