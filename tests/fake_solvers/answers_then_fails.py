"""Answers unsat, then dies of an exception that nobody catches."""

print("unsat", flush=True)
raise RuntimeError("after the verdict")
