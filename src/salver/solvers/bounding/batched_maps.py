"""The affine maps of a program on a torch device, as the batched bounds need them, in float64.

A dense matrix is multiplied by BLAS. A sparse one (a convolution) stays sparse on the CPU, where it was
measured to win at every density at which `Program` keeps it sparse. On CUDA it is made dense as long
as it fits: the sums of cuSPARSE come in no fixed order.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from salver.core.errors import SalverError
from salver.nets.affine import ROUNDING, Affine, Matrix
from salver.solvers.bounding.bounds import Array, constant_rows
from salver.solvers.bounding.relaxation import TINY

Tensor = Any
Indices = npt.NDArray[np.intp]

DENSE_ON_CUDA = 2**26
"""Entries of the largest sparse matrix that is made dense on CUDA (512 MiB)."""


def checked_device(device: str) -> str:
    """The device itself.

    Raises:
        SalverError: neither `cpu` nor `cuda`, or no CUDA device.
    """
    import torch

    if device not in ("cpu", "cuda"):
        raise SalverError(f"no device {device!r}", "--device", "choose cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise SalverError("torch finds no CUDA device", "--device cuda", "use --device cpu on this machine")
    return device


def on_device(values: Array, device: str) -> Tensor:
    """A float64 tensor of the values; on the CPU it may share their memory."""
    import torch

    return torch.as_tensor(np.ascontiguousarray(values, np.float64), device=device)


class DeviceMatrix:
    """One matrix [rows, columns] of an affine map.

    Attributes:
        host: the program's matrix, or None where the device has all that is needed.
        dense: tensor [rows, columns], None for a matrix that stays sparse.
    """

    def __init__(self, matrix: Matrix, absolute: Matrix, device: str) -> None:
        """Args: absolute: bounds on what the entries were added up from (`Affine.absolute`)."""
        self.device = device
        entries = matrix.shape[0] * matrix.shape[1]
        keep = sparse.issparse(matrix) and (device == "cpu" or entries > DENSE_ON_CUDA)
        self.host = sparse.csr_array(matrix) if keep else None
        self.dense: Tensor = None
        if self.host is not None:
            self._size, self._unsigned = sparse.csr_array(absolute), abs(self.host)
            self._whole = Factor(_turned(self.host, device))
        else:
            self.dense = on_device(matrix.toarray() if sparse.issparse(matrix) else matrix, device)
            self._size = on_device(absolute.toarray() if sparse.issparse(absolute) else absolute, device)
            self._unsigned = self.dense.abs()

    def interval(self, low: Array, high: Array) -> tuple[Array, Array, Array]:
        """Middle, radius and sum of absolute parts [batch, rows] of the product with [batch, columns]."""
        middle, radius = (low + high) / 2, (high - low) / 2
        largest = np.maximum(np.abs(low), np.abs(high))
        if self.host is not None:
            return (self.host @ middle.T).T, (self._unsigned @ radius.T).T, (self._size @ largest.T).T
        centre = (on_device(middle, self.device) @ self.dense.T).cpu().numpy()
        spread = (on_device(radius, self.device) @ self._unsigned.T).cpu().numpy()
        scale = (on_device(largest, self.device) @ self._size.T).cpu().numpy()
        return centre, spread, scale

    def rows(self, numbers: Indices) -> Tensor:
        """Chosen rows, dense: [*numbers.shape, columns]."""
        import torch

        flat = numbers.ravel()
        source = self.dense
        if source is None:
            assert self.host is not None
            distinct, flat = np.unique(flat, return_inverse=True)
            source = on_device(self.host[distinct].toarray(), self.device)
        picked = source.index_select(0, torch.as_tensor(flat, device=self.device))
        return picked.reshape(*numbers.shape, picked.shape[1])

    def restricted(self, numbers: Indices | None) -> Factor:
        """The right factor made of chosen rows, or of all."""
        import torch

        if self.host is not None:
            return self._whole if numbers is None else Factor(_turned(self.host[numbers], self.device))
        if numbers is None:
            return Factor(self.dense)
        return Factor(self.dense.index_select(0, torch.as_tensor(numbers, device=self.device)))


class Factor:
    """A matrix M, dense or sparse, to be multiplied from the left."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix
        """M if dense, M transposed if sparse: torch has sparse @ dense only."""

    def after(self, weights: Tensor) -> Tensor:
        """weights @ M: [..., rows] -> [..., columns]."""
        import torch

        flat = weights.reshape(-1, weights.shape[-1])
        product = flat @ self.matrix if self.matrix.layout is torch.strided else (self.matrix @ flat.T).T
        return product.reshape(*weights.shape[:-1], product.shape[1])


class DeviceAffine:
    """An affine map over blocks, on a device.

    Attributes:
        terms: block -> matrix.
        constant: tensor [size].
        plain: whether the constant is zero.
        exact: whether it reads the input only, so that its interval is exact up to rounding.
    """

    def __init__(self, affine: Affine, device: str) -> None:
        self.size, self.device = affine.size, device
        self.terms = {
            block: DeviceMatrix(matrix, affine.absolute[block], device)
            for block, matrix in affine.terms.items()
        }
        self.host_constant = affine.constant
        self.constant = on_device(affine.constant, device)
        self._constant_size = affine.magnitude({b: np.zeros(m.shape[1]) for b, m in affine.terms.items()})
        self.plain = not affine.constant.any()
        self.exact = set(affine.terms) <= {-1}
        self._constant_rows = constant_rows(affine)

    def interval(self, low: dict[int, Array], high: dict[int, Array]) -> tuple[Array, Array, Array]:
        """Interval arithmetic [batch, size] over block bounds [batch, block size], moved outwards, and the
        sums of absolute values of what was added up."""
        batch = len(low[-1])
        middle = np.repeat(self.host_constant[None], batch, axis=0)
        radius, scale = np.zeros_like(middle), np.repeat(self._constant_size[None], batch, axis=0)
        for block, matrix in self.terms.items():
            centre, spread, parts = matrix.interval(low[block], high[block])
            middle, radius, scale = middle + centre, radius + spread, scale + parts
        slop = ROUNDING * scale + TINY
        return np.fmax(middle - radius - slop, -np.inf), np.fmin(middle + radius + slop, np.inf), scale

    def factors(self, rows: Indices | None) -> dict[int, Factor]:
        """The right factors of the terms, of chosen rows or of all."""
        return {block: matrix.restricted(rows) for block, matrix in self.terms.items()}

    def sharpen_constant_rows(self, low: Array, high: Array) -> None:
        """Rows that read nothing get their constant exactly, in place."""
        rows = self._constant_rows
        low[:, rows] = high[:, rows] = self.host_constant[rows]


def _turned(matrix: Any, device: str) -> Tensor:
    """The transposed matrix as sparse CSR."""
    import torch

    turned = sparse.csr_array(matrix.T)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            torch.as_tensor(turned.indptr.astype(np.int32), device=device),
            torch.as_tensor(turned.indices.astype(np.int32), device=device),
            torch.as_tensor(turned.data, device=device),
            turned.shape,
            device=device,
            check_invariants=False,
        )
