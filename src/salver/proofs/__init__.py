"""Proofs of `unsat`: their format, and a checker with its own readers of files."""
