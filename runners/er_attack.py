"""ERAttack: pushes the top-k features down and all others up, with the label kept."""

from typing import ClassVar

from salver.runners.contract import EmbeddedRunner


class ErAttack(EmbeddedRunner):
    """Finds counterexamples to rankings; answers `unknown` where it finds none."""

    name = "er-attack"
    needs: ClassVar = ("onnxruntime", "scipy")
    families: ClassVar = frozenset({"topk_rank"})
    by_default: ClassVar = False
