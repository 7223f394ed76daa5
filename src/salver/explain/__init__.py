"""Explanations: which map of which network, as a graph and by automatic differentiation."""
