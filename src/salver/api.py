"""What `import salver` offers to programs. Everything else may move without a word in the changelog.

import salver

graph = salver.unroll("net.onnx", label=3)           # X -> Concat[logits, gradient of z_3]
salver.write_onnx(graph, "grad.onnx")
salver.solve("grad.onnx", "query.vnnlib", solver="hybrid", timeout=60).verdict
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from salver.core.errors import SalverError
from salver.core.files import refuse_output, write_atomically
from salver.explain.cam import Cam
from salver.explain.checked import unrolled
from salver.explain.explanation import Explanation
from salver.explain.grad_cam import GradCam
from salver.explain.gradient import Gradient
from salver.explain.smoothgrad import SmoothGrad
from salver.families.generator import Generator, InstanceDraft, Parameters
from salver.families.question import Question
from salver.metrics.attribution import Attribution
from salver.metrics.measure import job_of, measurements
from salver.metrics.measured import Measured
from salver.nets.network import Network
from salver.nets.onnx.reader import read_onnx
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.runtime import with_free_batch
from salver.nets.torch_bridge import from_torch
from salver.points.answer import RobustnessAnswer
from salver.points.check import check_within
from salver.points.entries import method_of
from salver.points.options import LOGIT, Bisection, Solving, Within, option_record, refuse_other_score
from salver.points.point_question import ask
from salver.points.radius import RadiusAnswer, find_radius
from salver.runners.answers import Answer, Claim, StagedInstance
from salver.runners.contract import Runner, answer_from_result_file, answer_from_words
from salver.solvers.query import Budget, Options, Result, Verdict, read_query
from salver.solvers.registry import embedded_solver
from salver.spec import Atom, Property, read_vnnlib
from salver.supervise.finished import Finished, Limits

__all__ = [
    "Answer", "Atom", "Attribution", "Cam", "Claim", "Finished", "Generator", "GradCam", "Gradient",
    "InstanceDraft", "Limits", "Measured", "Network", "Parameters", "Property", "RadiusAnswer",
    "Result", "RobustnessAnswer", "Runner", "SalverError", "SmoothGrad", "StagedInstance", "Verdict",
    "answer_from_result_file", "answer_from_words", "check", "from_torch", "measure", "radius",
    "read_onnx", "read_vnnlib", "solve", "unroll", "write_onnx",
]  # fmt: skip


def unroll(
    source: Any,
    example: Any = None,
    *,
    label: int,
    minus: int | None = None,
    absolute: bool = False,
    method: str | Explanation = "gradient",
    score: str = LOGIT,
    output: str | None = None,
    input_range: tuple[float, float] | None = None,
    **entries: Any,
) -> Network:
    """The network X [n] -> Y = [logits, map] that explains a PyTorch module, a file, or a network.

    What is made is compared under ONNX Runtime with the source and with automatic differentiation. What is
    left out of the source, such as a closing softmax, is told as a warning.

    Args:
        source: a `torch.nn.Module`, a program of torch.export, the path of an ONNX or Keras file, or a
            `Network`.
        example: an input of a module, of shape [1, ...]; its values do not matter. X is an input in row-major
            order.
        label: class whose logit is explained; minus: class whose logit is subtracted.
        absolute: whether the map holds absolute values.
        method: name of a method (`salver methods`), or its record, such as `salver.SmoothGrad(noise=...)`.
        score: what is explained: a logit. A probability is refused with the reason.
        output: name of the output that holds the scores, of an ONNX file with several.
        input_range: lowest and highest value of an entry, which a baseline keeps to.
        entries: what the method lets be said, such as `noise_draws=8, noise_sigma=0.1`, as in `check`.

    Raises:
        SalverError: the source cannot be read, has no such class, or the method does not take it or is none.
    """
    refuse_other_score(score)
    record = method_of(method, entries)
    explanation = record.of(label, minus).model_copy(update={"absolute": absolute or record.absolute})
    classifier, graph, _ = unrolled(source, explanation, example, output, input_range)
    for note in classifier.notes:
        warnings.warn(note, stacklevel=2)
    return graph


def write_onnx(network: Network, path: str | Path, *, force: bool = False) -> None:
    """Writes a network as canonical ONNX: opset 13, input X [batch, n], output Y [batch, outputs].

    Raises:
        SalverError: the file is there and `force` is false, or its folder is not.
    """
    target = Path(path)
    refuse_output(target, force=force, inputs=[], option="force=True")
    write_atomically(target, to_bytes(with_free_batch(to_model(network))))


def check(
    model: Any,
    point: Any = None,
    question: str | Question = "top-k",
    *,
    epsilon: float,
    solver: str = "hybrid",
    timeout: float = 10.0,
    seed: int = 0,
    proof: str | Path | None = None,
    **asked: Any,
) -> RobustnessAnswer:
    """Whether the explanation of one input is robust: within `epsilon`, does the question find nothing?

        answer = salver.check(module, x, "top-k", k=5, epsilon=0.02)
        print(answer)        # a sentence, and what is worth knowing besides
        answer.witness       # a counterexample, or None

    Args:
        model: a path of ONNX or Keras, a `torch.nn.Module`, a program of torch.export, or what `read_onnx`
            returns.
        point: an array or tensor of any shape, flattened row-major, or the path of a .npy or .csv file; None
            for row `index` of the test part of `dataset`.
        question: its name or the beginning of it, such as `top-k` or `same-map`, or a record of it.
        epsilon: radius, the largest change of an entry, in the units of the point; with `norm="l2"` the
            Euclidean distance.
        solver: an embedded solver. timeout: wall seconds. seed: of its attacks.
        proof: file for a proof of a robust explanation; it is checked, and its two files go beside it.
        asked: what the question and the method let be said, such as `k` or `noise_sigma`; and `dataset`,
            `index`, `data_dir`; `method` (default `gradient`), `label` (the class that is explained; default:
            the network's), `minus`, `absolute`; `input_range`, lowest and highest value of an entry;
            `output`, name of the output with the scores; `norm`, `linf` or `l2`, of the radius.

    Raises:
        SalverError: something is missing, does not exist or does not fit the rest.
    """
    within = option_record(Within, {"epsilon": epsilon})
    solving = option_record(Solving, {"solver": solver, "timeout": timeout, "seed": seed})
    posed = ask(model, point, question, **asked)
    return check_within(posed, within.epsilon, solving, None if proof is None else Path(proof))


def radius(
    model: Any,
    point: Any = None,
    question: str | Question = "top-k",
    *,
    most: float | None = None,
    precision: float = 0.05,
    solver: str = "hybrid",
    timeout: float = 60.0,
    seed: int = 0,
    proof: str | Path | None = None,
    **asked: Any,
) -> RadiusAnswer:
    """Up to which radius the explanation of one input is certified, and at which distance it is broken.

        found = salver.radius(module, x, "top-k", k=5)
        found.certified, found.attacked, found.witness

    Args:
        most: the largest radius that is looked at; None for the width of the inputs' range in the norm,
            or else the size of the point, at least 1.
        precision: the distance of the two radii, as a share of the larger, at which it is enough.
        timeout: wall seconds for all questions together.
        proof: file for a proof of the certified radius. All else is as in `check`.

    Raises:
        SalverError: as `check`.
    """
    bisection = option_record(Bisection, {"most": most, "precision": precision})
    solving = option_record(Solving, {"solver": solver, "timeout": timeout, "seed": seed})
    posed = ask(model, point, question, **asked)
    return find_radius(posed, solving, bisection, None if proof is None else Path(proof))


def measure(
    model: Any,
    points: Any = None,
    metrics: Any = None,
    *,
    epsilon: float,
    timeout: float = 2.0,
    solver: str = "hybrid",
    draws: int = 200,
    seed: int = 0,
    **asked: Any,
) -> Measured:
    """Metrics of an explanation's robustness at many points: sampled, attacked, and certified.

        found = salver.measure(module, x, ["max-sensitivity", "top-k"], epsilon=0.02, k=5)
        print(found)                       # a table
        found.rows[0].attacked, found.rows[0].certified, found.rows[0].witness
        found.save("metrics")              # a page, a table, and the witnesses

    Args:
        model: as `check`.
        points: inputs [count, ...]; None for the first `count` rows (10) of the test part of `dataset`.
        metrics: names or their beginnings, or records; None for all.
        epsilon: radius, the largest change of an entry, in the units of the points; with `norm="l2"` the
            Euclidean distance.
        timeout: wall seconds for one metric at one point.
        draws: how many inputs are drawn around a point; seed: of the draws, and of attacks.
        solver: an embedded solver; only one with certificates gives bounds.
        asked: what metrics let be said, such as `k`, `tolerance` and `nearest`; `dataset`, `count` and
            `data_dir`; `labels`, the class that is explained at each point; and as in `check` `method` and
            its entries, `label`, `minus`, `absolute`, `input_range`, `norm` and `output`.

    Raises:
        SalverError: something is missing, does not exist or does not fit the rest.
    """
    limits = {"timeout": timeout, "solver": solver, "seed": seed}
    job = job_of(model, points, metrics, epsilon=epsilon, draws=draws, **limits, **asked)
    return Measured(job, tuple(measurements(job)))


def solve(onnx: str | Path, vnnlib: str | Path, *, solver: str = "hybrid", timeout: float = 60.0) -> Result:
    """Decides a query with an embedded solver, in this process.

    An `unsat` of `hybrid` or `crown` rests on outward-rounded bounds or multipliers; that of others is
    a claim.

    Args:
        onnx: network; vnnlib: property over it, in VNN-LIB 1.0 or 2.0.
        solver: one of `salver solvers list` that is embedded.
        timeout: wall seconds, counted from now. Nothing stops a library that overruns them: `salver-solve`
            does, from another process.

    Raises:
        SalverError: a file cannot be read, or the solver needs a package that is missing.
        UnsupportedQueryError: the network has operators that are not supported.
    """
    decide = embedded_solver(solver).load()
    return decide(read_query(Path(onnx), Path(vnnlib)), Budget(timeout), Options())
