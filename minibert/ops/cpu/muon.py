"""Orthogonalising matrices by Newton-Schulz iterations: each thread takes some of the matrices."""

from collections.abc import Sequence

import numpy as np

from minibert.ops.cpu.compiler import helper, kernel, piece, prange, threads
from minibert.ops.cpu.losses import sum_of_squares
from minibert.ops.cpu.products import block, multiply, multiply_by_transposed, one_blas_thread, restore_blas_threads
from minibert.ops.optimizer import COEFFICIENTS, ITERATIONS, SMALLEST_NORM


def orthogonalise(matrices: Sequence[np.ndarray]) -> list[np.ndarray]:
    """For each matrix, one with the same singular vectors and singular values near 1; see minibert.ops.reference.muon.

    Raises ValueError for matrices of different dtypes.
    """
    if len({matrix.dtype for matrix in matrices}) > 1:
        raise ValueError("orthogonalise expects matrices of one dtype")
    wide = [matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T for matrix in matrices]
    if not wide:
        return []
    shapes = np.array([matrix.shape for matrix in wide])  # [K, 2]
    starts = np.concatenate([[0], np.cumsum(shapes.prod(axis=1))])  # [K + 1]
    packed = np.concatenate([matrix.reshape(-1) for matrix in wide])
    numbers = np.array((*COEFFICIENTS, SMALLEST_NORM), packed.dtype)
    iterate(packed, starts, shapes, numbers, threads())
    results = [
        packed[start:stop].reshape(shape) for start, stop, shape in zip(starts, starts[1:], shapes, strict=False)
    ]
    return [
        result if result.shape == matrix.shape else result.T for result, matrix in zip(results, matrices, strict=True)
    ]


@kernel
def iterate(packed, starts, shapes, numbers, parts):
    before = one_blas_thread()
    for part in prange(parts):
        first, last = piece(len(shapes), np.int64(part), parts)
        for i in range(first, last):
            x = packed[starts[i] : starts[i + 1]]
            orthogonalise_one(x, x.reshape((shapes[i, 0], shapes[i, 1])), numbers)
    restore_blas_threads(before)


@helper
def orthogonalise_one(flat, x, numbers):
    """Orthogonalise one matrix in place: x [r, c] with r <= c, and flat [r c], the same memory."""
    rows, columns = x.shape
    zero, one = type(numbers[0])(0), type(numbers[0])(1)
    a, b, c = numbers[0], numbers[1], numbers[2]
    norm = type(numbers[0])(np.sqrt(sum_of_squares(flat)))
    scale = one / max(norm, numbers[3])
    for i in range(len(flat)):
        flat[i] *= scale
    squares, mixed, new = np.empty((rows, rows), x.dtype), np.empty((rows, rows), x.dtype), np.empty_like(x)
    for _ in range(ITERATIONS):
        multiply_by_transposed(rows, rows, columns, one, block(x, 0, 0), block(x, 0, 0), zero, block(squares, 0, 0))
        for i in range(rows):
            for j in range(rows):
                mixed[i, j] = b * squares[i, j]
        multiply(rows, rows, rows, c, block(squares, 0, 0), block(squares, 0, 0), one, block(mixed, 0, 0))
        for i in range(rows):
            for j in range(columns):
                new[i, j] = x[i, j]
        multiply(rows, columns, rows, one, block(mixed, 0, 0), block(x, 0, 0), a, block(new, 0, 0))
        for i in range(rows):
            for j in range(columns):
                x[i, j] = new[i, j]
