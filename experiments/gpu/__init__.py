"""Solvers on a CUDA device beside the same solvers on the CPU."""
