"""Exact mixed-integer programming: one binary per undecided neuron."""

from salver.runners.contract import EmbeddedRunner


class Milp(EmbeddedRunner):
    """Big-M encoding solved by HiGHS; `salver-solve milp --backend scip` uses SCIP."""

    name = "milp"
    needs = ("highspy", "onnxruntime", "scipy")
    complete = True
    proof_file = "unsat.proof"
