"""Soundness of the solvers: random queries against ground truth, against each other, and under symmetries."""
