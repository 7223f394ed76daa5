"""Marabou through maraboupy: exact, on the disjunction encoding, with interval bounds alone."""

from salver.runners.contract import EmbeddedRunner


class Marabou(EmbeddedRunner):
    """Case splitting over ReLUs and masks together."""

    name = "marabou"
    needs = ("maraboupy", "onnxruntime", "scipy")
    complete = True
