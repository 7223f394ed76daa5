"""salver: a benchmark harness for the robustness of a network's explanations."""

__version__ = "0.1.0"
