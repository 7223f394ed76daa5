"""The published hybrid: CROWN bounds computed once, then Marabou's split-and-conquer."""

from salver.runners.contract import EmbeddedRunner, Resources


class HybridPaper(EmbeddedRunner):
    """Le et al., "Towards Robust Saliency Maps" (ACML 2024); two workers where the paper has up to 30."""

    name = "hybrid-paper"
    needs = ("maraboupy", "auto_LiRPA", "onnxruntime", "scipy", "torch")
    resources = Resources(cpus=2)
    complete = True
