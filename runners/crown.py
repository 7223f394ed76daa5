"""CROWN bounds by auto_LiRPA in a branch and bound over the signs of the pre-activations."""

from salver.runners.contract import EmbeddedRunner


class Crown(EmbeddedRunner):
    """auto_LiRPA, on the CPU or a GPU; leaves are linear programs."""

    name = "crown"
    needs = ("torch", "auto_LiRPA", "onnxruntime", "scipy")
    devices = frozenset({"cpu", "cuda"})
    complete = True
    proof_file = "unsat.proof"
