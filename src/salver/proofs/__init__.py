"""Proofs of `unsat`: their format, and a checker that shares only the readers of files with the solvers."""
