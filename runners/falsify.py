"""Attack without proof: sampling and gradient descent on a smooth surrogate."""

from salver.runner import EmbeddedRunner


class Falsify(EmbeddedRunner):
    """Finds counterexamples; answers `unknown` where it finds none."""

    name = "falsify"
    needs = ("onnxruntime", "scipy")
