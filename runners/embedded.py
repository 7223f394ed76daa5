"""The solvers of this package, each declared by its entry in `salver.solvers.registry`."""

from salver.runners.embedded import embedded_runners as discover

__all__ = ["discover"]
