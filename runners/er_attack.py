"""ERAttack: pushes the top-k features down and all others up, with the label kept."""

from typing import ClassVar

from salver.model import Instance
from salver.runner import EmbeddedRunner


class ErAttack(EmbeddedRunner):
    """Finds counterexamples to rankings; answers `unknown` where it finds none."""

    name = "er-attack"
    needs: ClassVar = ("onnxruntime", "scipy")
    by_default: ClassVar = False

    def supports(self, instance: Instance) -> str | None:
        """Rankings only: the attack has nothing to aim at in other families."""
        if instance.facts.family == "topk_rank" or super().supports(instance):
            return super().supports(instance)
        return f"attacks rankings (topk_rank) only, not {instance.facts.family}"
