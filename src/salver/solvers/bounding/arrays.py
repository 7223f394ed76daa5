"""Where the arrays of backward passes live: with numpy on the host, or with torch on a device, in float64.

The code of a pass is the same for both: `array_api_compat` gives torch's functions numpy's names.
"""

from __future__ import annotations

import warnings
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy import sparse

from salver.core.errors import SalverError
from salver.nets.affine import Affine, Matrix

Tensor = Any
"""An array of either library."""

DENSE_ON_CUDA = 1 << 26
"""Entries of the largest sparse matrix that is made dense on CUDA (512 MiB): the sums of cuSPARSE come in no
fixed order."""


class Arrays(Protocol):
    """
    Attributes:
        cells: entries of the coefficients of one pass; more rows go in several.
    """

    cells: int

    def put(self, values: npt.NDArray[Any]) -> Tensor:
        """The values there."""

    def get(self, values: Tensor) -> npt.NDArray[np.float64]:
        """The values on the host."""

    def map(self, affine: Affine) -> Affine:
        """The terms and the constant there; only `coefficients.product` takes the terms."""


class Host:
    """Numpy's arrays."""

    cells = 1 << 21

    def put(self, values: npt.NDArray[Any]) -> Tensor:
        return values

    def get(self, values: Tensor) -> npt.NDArray[np.float64]:
        return np.asarray(values)

    def map(self, affine: Affine) -> Affine:
        return affine


class Device:
    """Torch's tensors on a device; maps stay there for all passes."""

    def __init__(self, name: str) -> None:
        """Args: name: `cpu` or `cuda`.

        Raises:
            SalverError: another device, or no CUDA device.
        """
        import torch

        if name not in ("cpu", "cuda"):
            raise SalverError(f"no device {name!r}", "--device", "choose cpu or cuda")
        if name == "cuda" and not torch.cuda.is_available():
            raise SalverError("torch finds no CUDA device", "--device cuda", "use --device cpu")
        self.name, self.cells = name, 1 << (25 if name == "cuda" else 19)
        self._maps: dict[Affine, Affine] = {}

    def put(self, values: npt.NDArray[Any]) -> Tensor:
        import torch

        return torch.as_tensor(np.ascontiguousarray(values), device=self.name)

    def get(self, values: Tensor) -> npt.NDArray[np.float64]:
        return np.asarray(values.cpu().numpy())

    def map(self, affine: Affine) -> Affine:
        if affine not in self._maps:
            terms = {block: self._matrix(matrix) for block, matrix in affine.terms.items()}
            self._maps[affine] = Affine(terms, self.put(affine.constant))
        return self._maps[affine]

    def _matrix(self, matrix: Matrix) -> Tensor | TransposedMatrix:
        if not sparse.issparse(matrix):
            return self.put(matrix)
        dense = self.name == "cuda" and matrix.shape[0] * matrix.shape[1] <= DENSE_ON_CUDA
        return self.put(matrix.toarray()) if dense else TransposedMatrix(matrix, self.name)


class TransposedMatrix:
    """A sparse matrix on a device, kept transposed: torch multiplies sparse matrices from the left alone."""

    def __init__(self, matrix: Matrix, device: str) -> None:
        import torch

        turned = sparse.csr_array(matrix.T)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            self._matrix = torch.sparse_csr_tensor(
                torch.as_tensor(turned.indptr.astype(np.int32), device=device),
                torch.as_tensor(turned.indices.astype(np.int32), device=device),
                torch.as_tensor(turned.data, device=device),
                turned.shape,
                device=device,
                check_invariants=False,
            )

    def after(self, weights: Tensor) -> Tensor:
        """weights [rows, k] @ matrix [k, columns]."""
        return (self._matrix @ weights.T).T


HOST: Arrays = Host()
