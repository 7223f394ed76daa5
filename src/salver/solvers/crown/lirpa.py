"""auto_LiRPA behind one door: release 0.3 from PyPI and the newer ones from its repository.

Release 0.3 was written for torch < 1.13 and numpy 1; the shims below give it back the few names it
imports. Newer releases need none of them, and call one argument by another name.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from salver.core.errors import SalverError


@cache
def import_lirpa() -> Any:
    """The module `auto_LiRPA`, made to work with the installed torch and numpy.

    Importing it changes neither the warning filters nor the logging of this process.

    Raises:
        SalverError: it is not installed, or cannot be imported.
    """
    _restore_names()
    try:
        with _import_kept_quiet():
            lirpa = importlib.import_module("auto_LiRPA")
    except ImportError as error:
        raise SalverError(
            f"auto_LiRPA cannot be imported ({error})", "crown", "install auto-LiRPA or run scripts/setup.sh"
        ) from error
    logging.getLogger("auto_LiRPA").setLevel(logging.WARNING)
    if is_release_03(lirpa):
        _accept_remove_duplicate(lirpa.BoundedModule)
    return lirpa


def is_release_03(lirpa: Any) -> bool:
    """Whether this is the release on PyPI (0.3) or older, and not one from the repository."""
    major, minor = (int(part) for part in str(lirpa.__version__).split(".")[:2])
    return (major, minor) <= (0, 3)


def bounded_module(model: Any, sample: Any, custom_ops: dict[str, Any]) -> Any:
    """`BoundedModule` of a torch module for dense, unoptimised bounds.

    Args:
        model: torch module over [batch, n].
        sample: tensor [1, n] that fixes dtype and device.
        custom_ops: bound classes by operator name, such as `salver::Step`.
    """
    lirpa = import_lirpa()
    options = {
        "conv_mode": "matrix",
        "sparse_intermediate_bounds": False,
        "sparse_features_alpha": False,
        "sparse_spec_alpha": False,
    }
    with _custom_functions_traced_whole(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return lirpa.BoundedModule(
            model, sample, bound_opts=options, device=sample.device, custom_ops=custom_ops
        )


def linear_bounds(
    module: Any, lower: Any, upper: Any, node: str, rows: Any, known: dict[str, Any]
) -> tuple[Any, ...]:
    """CROWN bounds of linear combinations of one node over a batch of boxes, with their planes.

    Args:
        lower, upper: boxes [batch, n].
        node: name of the bounded node.
        rows: the combinations [k, size]; rows of the identity for single entries.
        known: bounds (lower, upper) [batch, size] of the nodes before it, by name.

    Returns:
        Lower and upper bounds [batch, k], and planes lA [batch, k, n], lb [batch, k], uA, ub with
        lA x + lb <= rows @ value <= uA x + ub on the box.
    """
    lirpa = import_lirpa()
    box = lirpa.PerturbationLpNorm(norm=np.inf, x_L=lower, x_U=upper)
    inputs = lirpa.BoundedTensor((lower + upper) / 2, box)
    root = module.input_name[0]
    keyword = "intermediate_layer_bounds" if is_release_03(lirpa) else "interm_bounds"
    batch, size = len(lower), len(rows)
    low, high, planes = module.compute_bounds(
        x=(inputs,),
        C=rows.expand(batch, *rows.shape),
        method="backward",
        final_node_name=node,
        return_A=True,
        needed_A_dict={node: {root}},
        **{keyword: known},
    )
    plane = planes[node][root]
    matrices = [plane[side].reshape(batch, size, -1) for side in ("lA", "uA")]
    shifts = [plane[side].reshape(batch, size) for side in ("lbias", "ubias")]
    return low.reshape(batch, size), high.reshape(batch, size), matrices[0], shifts[0], matrices[1], shifts[1]


def _restore_names() -> None:
    """Names that release 0.3 imports and newer numpy and torch have moved or dropped."""
    import torch

    # The package attribute of this name is another module than the one an import statement finds.
    symbolic_helper = importlib.import_module("torch.onnx.symbolic_helper")

    if importlib.util.find_spec("numpy.lib.arraysetops") is None:
        moved = types.ModuleType("numpy.lib.arraysetops")
        vars(moved)["isin"] = np.isin
        sys.modules.setdefault("numpy.lib.arraysetops", moved)
    if not hasattr(symbolic_helper, "_set_opset_version"):
        vars(symbolic_helper)["_set_opset_version"] = _set_opset_version
    if not hasattr(torch._C.Node, "__getitem__"):
        torch._C.Node.__getitem__ = _attribute  # type: ignore[method-assign]


def _set_opset_version(version: int) -> None:
    from torch.onnx._internal.torchscript_exporter._globals import GLOBALS

    GLOBALS.export_onnx_opset_version = version


def _attribute(node: Any, name: str) -> Any:
    """`node[name]` of a traced node, whatever the kind of the attribute."""
    return getattr(node, node.kindOf(name))(name)


def _accept_remove_duplicate(bounded: Any) -> None:
    """torch.nn.Module now passes `remove_duplicate` to `_named_members`, which 0.3 overrides."""
    original = bounded._named_members

    def named_members(self: Any, members: Any, prefix: str = "", recurse: bool = True, **_: Any) -> Any:
        return original(self, members, prefix=prefix, recurse=recurse)

    bounded._named_members = named_members


@contextmanager
def _import_kept_quiet() -> Iterator[None]:
    """auto_LiRPA sends the root logger to stdout and resets the warning filters when imported."""
    root = logging.getLogger()
    placeholder = logging.NullHandler()
    root.addHandler(placeholder)
    try:
        # It also calls simplefilter, so its own warnings are caught by recording, not by a filter.
        with warnings.catch_warnings(record=True):
            yield
    finally:
        root.removeHandler(placeholder)


@contextmanager
def _custom_functions_traced_whole() -> Iterator[None]:
    """Keeps torch from inlining a custom operator's forward code into the traced graph."""
    from torch.onnx._internal.torchscript_exporter._globals import GLOBALS

    previous = GLOBALS.autograd_inlining
    GLOBALS.autograd_inlining = False
    try:
        yield
    finally:
        GLOBALS.autograd_inlining = previous
