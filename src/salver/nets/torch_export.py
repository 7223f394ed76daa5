"""PyTorch module -> network, in memory and by way of ONNX: by tracing a run, else by torch.export.

The module is read as it is in evaluation mode, with the weights it has now. It is never changed.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import onnx

from salver.core.errors import SalverError
from salver.core.packages import require_packages
from salver.nets.classifier import Classifier, from_onnx
from salver.nets.onnx.file import MOST_BYTES, inferred, refuse_oddities
from salver.nets.onnx.normal import normal_form

OPERATORS = 20
"""Operator set that modules become: the newest of the exporter, whose averages are PyTorch's."""
_TRAINING = "the module is in training mode: it is read as in evaluation mode"


def read_module(module: Any, example: Any) -> Classifier:
    """The classifier that a `torch.nn.Module` computes in evaluation mode, X [n] -> logits [m].

    Args:
        module: maps one tensor [1, ...] to one tensor [1, m].
        example: an input, as a tensor or an array of shape [1, ...], or of one sample's shape without that
            first axis; X is an input in row-major order. Its values do not matter.

    Raises:
        SalverError: the module does not take the example, has an operator that is not supported, or
            torch.export cannot follow it; onnxscript is needed and missing.
    """
    where = type(module).__name__
    x = sample_of(module, example, where)
    notes = (_TRAINING,) if module.training else ()
    with evaluating(module):
        found = _exported(module, x, where)
    return replace(found, notes=(*notes, *found.notes))


def module_of(model: Any) -> Any:
    """The module of a program of `torch.export`; anything else as it is.

    Such a module refuses to change its mode, which is part of its graph. Here it is in evaluation mode.
    """
    import torch

    module = model.module() if isinstance(model, torch.export.ExportedProgram) else model
    own = vars(module) if isinstance(module, torch.fx.GraphModule) else {}
    if refused := {"train", "eval"} & own.keys():
        for name in refused:
            del own[name]
        module.eval()
    return module


@contextlib.contextmanager
def in_evaluation(module: Any, example: Any) -> Iterator[Callable[[Any], Any]]:
    """The module in evaluation mode as a function of tensors [p, n] that gives [p, m], row by row."""
    import torch

    shaped = sample_of(module, example, type(module).__name__)
    with evaluating(module):
        yield lambda x: torch.cat(
            [module(row.to(shaped).reshape(shaped.shape)).reshape(1, -1).cpu() for row in x]
        )


def sample_of(module: Any, example: Any, where: str) -> Any:
    """The example as a tensor [1, ...] in the module's own precision and on its device.

    Raises:
        SalverError: it is no tensor or array of numbers, or the module does not take it.
    """
    import torch

    try:
        x = torch.as_tensor(example if isinstance(example, torch.Tensor) else np.asarray(example))
    except (TypeError, ValueError, RuntimeError) as error:
        raise SalverError("the example is no tensor of numbers", where, "give an input x [1, ...]") from error
    weights = next((p for p in module.parameters() if p.is_floating_point()), None)
    x = x.detach().to(torch.float32) if weights is None else x.detach().to(weights)
    reasons = []
    for candidate in (x, x[None]):
        if candidate.dim() < 2 or len(candidate) != 1:
            continue
        try:
            with evaluating(module), torch.no_grad():
                made = module(candidate)
        except Exception as error:  # whatever the module raises
            reasons.append(next(iter(str(error).splitlines()), type(error).__name__))
            continue
        if not isinstance(made, torch.Tensor):
            what = f"gives a {type(made).__name__} and not one tensor"
            raise SalverError(what, where, "wrap it in a module that returns the scores alone")
        if made.dim() > 1 and made.numel() != made.shape[1]:
            # Of a batch, or of an image without its channels, a row or a column is taken for an input.
            reasons.append(f"it makes {list(made.shape)} of it, not [1, classes]")
            continue
        return candidate
    what = f"does not take an example of shape {list(x.shape)}" + (f" ({reasons[0]:.160})" if reasons else "")
    raise SalverError(what, where, "give one input x of shape [1, ...]")


@contextlib.contextmanager
def evaluating(module: Any) -> Iterator[None]:
    """Evaluation mode for a while; every part then has the mode back that it had."""
    before = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in before:
            part.training = training


def _exported(module: Any, x: Any, where: str) -> Classifier:
    if sum(part.nbytes for part in (*module.parameters(), *module.buffers())) > MOST_BYTES:
        what = f"has more than {MOST_BYTES >> 20} MiB of weights"
        raise SalverError(what, where, "use a smaller network")
    model = _traced(module, x) or _followed(module, x, where)
    refuse_oddities(model, where)
    return from_onnx(inferred(normal_form(model, where), where), where)


def _traced(module: Any, x: Any) -> onnx.ModelProto | None:
    """By a run of the module, in a fraction of a second; None where one does not tell all, or it fails."""
    import torch
    from torch.jit import TracerWarning  # type: ignore[attr-defined]

    content: Any = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", TracerWarning)  # such as for an `if` on values
            torch.onnx.export(module, (x,), content, dynamo=False, opset_version=OPERATORS)
        return onnx.load_from_string(content.getvalue())
    except Exception:  # of the exporter, of many types; torch.export is asked then
        return None


def _followed(module: Any, x: Any, where: str) -> onnx.ModelProto:
    """By torch.export, which takes seconds and follows or refuses everything."""
    import torch

    require_packages(["onnxscript"], f"reading this module ({where})")
    try:
        with warnings.catch_warnings(), _quiet():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(module, (x,), dynamo=True, verbose=False)
    except Exception as error:  # of torch.export, of many types, each a page long
        reason = next((line for line in _plain(error) if line), type(error).__name__)
        what = f"torch.onnx.export cannot follow it ({reason:.200})"
        raise SalverError(what, where, "`torch.export.export(module, (example,))` says why") from error
    assert program is not None, "without a file it returns the program"
    model: onnx.ModelProto = program.model_proto
    return model


def _plain(error: Exception) -> list[str]:
    """The lines of what was behind an exporter's error."""
    cause = error.__cause__ or error
    return [line.strip() for line in str(cause).splitlines()]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notes on packages that it looked for."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
