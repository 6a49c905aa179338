"""The linear layer, with its matrix products split among threads; it accounts for nine tenths of BERT's arithmetic."""

from collections.abc import Sequence

import numpy as np

from minibert.base.arrays import Cache
from minibert.ops.cpu.compiler import helper, inlined, kernel, piece, prange, threads
from minibert.ops.cpu.memory import contiguous, empty
from minibert.ops.cpu.products import (
    block,
    multiply,
    multiply_by_transposed,
    multiply_transposed,
    one_blas_thread,
    restore_blas_threads,
)


def linear_forward(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, Cache]:
    """The linear layer, y = x @ weight.T + bias; see minibert.ops.reference.linear."""
    x, weight, bias = contiguous(x, weight, bias)
    y = empty((len(x), len(weight)), x.dtype)
    forward(x, weight, bias, y, threads())
    return y, (x, weight)


def linear_backward(
    d_y: np.ndarray, cache: Cache, accumulate_into: Sequence[np.ndarray | None] = (None, None, None)
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The backward pass: d_y [N, out] -> d_x [N, in], d_weight [out, in], d_bias [out].

    See the reference for `accumulate_into`.
    """
    d_x, d_weight, d_bias = accumulate_into
    d_y, x, weight = contiguous(d_y, *cache)
    keep = np.array([0 if given is None else 1 for given in (d_x, d_weight, d_bias)], x.dtype)
    d_x = empty(x.shape, x.dtype) if d_x is None else d_x
    d_weight = empty(weight.shape, x.dtype) if d_weight is None else d_weight
    d_bias = empty(weight.shape[:1], x.dtype) if d_bias is None else d_bias
    backward(d_y, x, weight, d_x, d_weight, d_bias, keep, threads())
    return d_x, d_weight, d_bias


@kernel
def forward(x, weight, bias, y, parts):
    before = one_blas_thread()
    for part in prange(parts):
        forward_block(x, weight, bias, y, np.int64(part), parts)
    restore_blas_threads(before)


@helper
def forward_block(x, weight, bias, y, part, parts):
    """Compute one thread's block of y [N, out]: a range of rows or, if y has more columns than rows, of columns."""
    top, bottom, left, right = block_of(y, part, parts)
    features = bias[left:right]
    for i in range(top, bottom):  # the product is added to the bias, which takes no longer than overwriting y
        row = y[i, left:right]
        for j in range(len(row)):
            row[j] = features[j]
    rows, columns, one = bottom - top, right - left, type(bias[0])(1)
    x_block, weight_block, y_block = block(x, top, 0), block(weight, left, 0), block(y, top, left)
    multiply_by_transposed(rows, columns, x.shape[1], one, x_block, weight_block, one, y_block)


@kernel
def backward(d_y, x, weight, d_x, d_weight, d_bias, keep, parts):
    before = one_blas_thread()
    for part in prange(parts):
        backward_blocks(d_y, x, weight, d_x, d_weight, d_bias, keep, np.int64(part), parts)
    restore_blas_threads(before)


@helper
def backward_blocks(d_y, x, weight, d_x, d_weight, d_bias, keep, part, parts):
    """Compute one thread's block of d_x, block of d_weight, and range of d_bias.

    keep [3]: for each of the three arrays, 1 to add the gradient to its current contents, 0 to overwrite them.
    """
    # y = x @ weight.T + bias
    one = type(keep[0])(1)
    top, bottom, left, right = block_of(d_x, part, parts)
    d_y_block, weight_block, d_x_block = block(d_y, top, 0), block(weight, 0, left), block(d_x, top, left)
    multiply(bottom - top, right - left, d_y.shape[1], one, d_y_block, weight_block, keep[0], d_x_block)
    top, bottom, left, right = block_of(d_weight, part, parts)
    d_y_block, x_block, d_weight_block = block(d_y, 0, top), block(x, 0, left), block(d_weight, top, left)
    multiply_transposed(bottom - top, right - left, len(d_y), one, d_y_block, x_block, keep[1], d_weight_block)
    left, right = piece(len(d_bias), part, parts)
    add_up_columns(d_y, left, keep[2], d_bias[left:right])


@inlined
def block_of(matrix, part, parts):
    """The row and column limits of one thread's block of a matrix, which is split along its longer side."""
    if matrix.shape[0] >= matrix.shape[1]:
        top, bottom = piece(matrix.shape[0], part, parts)
        return top, bottom, 0, matrix.shape[1]
    left, right = piece(matrix.shape[1], part, parts)
    return 0, matrix.shape[0], left, right


@helper
def add_up_columns(matrix, left, keep, sums):
    """Set sums[j] to keep * sums[j] plus the sum of column left + j of the matrix, adding row by row."""
    for j in range(len(sums)):
        sums[j] = keep * sums[j] if keep else 0
    for i in range(len(matrix)):
        row = matrix[i, left : left + len(sums)]
        for j in range(len(sums)):
            sums[j] += row[j]
