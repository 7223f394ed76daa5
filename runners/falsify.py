"""Attack without proof: sampling and gradient descent on a smooth surrogate."""

from salver.runners.contract import EmbeddedRunner


class Falsify(EmbeddedRunner):
    """Finds counterexamples; answers `unknown` where it finds none."""

    name = "falsify"
    needs = ("onnxruntime", "scipy")
