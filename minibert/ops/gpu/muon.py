"""Orthogonalising matrices by Newton-Schulz iterations: the products are cuBLAS's."""

from collections.abc import Sequence

from minibert.base.arrays import Array
from minibert.ops.gpu.layout import contiguous
from minibert.ops.gpu.library import cp
from minibert.ops.gpu.optimizer import global_norm
from minibert.ops.gpu.products import product
from minibert.ops.optimizer import COEFFICIENTS, ITERATIONS, SMALLEST_NORM


def orthogonalise(matrices: Sequence[Array]) -> list[Array]:
    """For each matrix, one with the same singular vectors and singular values near 1; see minibert.ops.reference.muon.

    The host never waits for the device.
    """
    a, b, c = COEFFICIENTS
    results = []
    for matrix in matrices:
        is_wide = matrix.shape[0] <= matrix.shape[1]
        (x,) = contiguous(matrix if is_wide else matrix.T)
        x = x / cp.maximum(global_norm(x.reshape(-1)), SMALLEST_NORM)
        for _ in range(ITERATIONS):
            squares = product(x, x.T)
            mixed = c * product(squares, squares) + b * squares
            x = product(mixed, x, out=a * x, add=True)
        results.append(x if is_wide else x.T)
    return results
