"""MSE attack: moves the saliency map as far as it goes, with the label kept."""

from typing import ClassVar

from salver.runners.contract import EmbeddedRunner


class MseAttack(EmbeddedRunner):
    """Finds counterexamples to rankings; answers `unknown` where it finds none."""

    name = "mse-attack"
    needs: ClassVar = ("onnxruntime", "scipy")
    families: ClassVar = frozenset({"topk_rank"})
    by_default: ClassVar = False
