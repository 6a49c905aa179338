"""The linear layer: matrix products cut among threads.  Nine tenths of BERT's arithmetic is in here."""

from minibert.ops.cpu.blas import (
    as_many_blas_threads_as,
    multiply,
    multiply_by_transposed,
    multiply_transposed,
    one_blas_thread,
)
from minibert.ops.cpu.compiler import helper, kernel, piece, prange, threads
from minibert.ops.cpu.memory import empty


def linear_forward(x, weight, bias):
    """y = x @ weight.T + bias: see minibert.ops.reference.linear."""
    y = empty((len(x), len(weight)), x.dtype)
    forward(x, weight, bias, y, threads())
    return y, (x, weight)


def linear_backward(d_y, cache, d_x=None, d_weight=None, d_bias=None):
    """d_y [N, out] -> d_x [N, in], d_weight [out, in], d_bias [out], added to what is given: see the reference."""
    x, weight = cache
    keep = [0.0 if given is None else 1.0 for given in (d_x, d_weight, d_bias)]
    d_x = empty(x.shape, x.dtype) if d_x is None else d_x
    d_weight = empty(weight.shape, x.dtype) if d_weight is None else d_weight
    d_bias = empty(weight.shape[:1], x.dtype) if d_bias is None else d_bias
    backward(d_y, x, weight, d_x, d_weight, d_bias, *keep, threads())
    return d_x, d_weight, d_bias


@kernel
def forward(x, weight, bias, y, parts):
    """Each thread computes a block of y [N, out]: some of its rows or, where those are fewer, some of its columns."""
    before = one_blas_thread()
    for part in prange(parts):
        top, bottom, left, right = block_of(y.shape, part, parts)
        for i in range(top, bottom):  # the product is added to the bias: as quick as adding it to zero
            row = y[i]
            for j in range(left, right):
                row[j] = bias[j]
        multiply_by_transposed(1.0, x[top:bottom], weight[left:right], 1.0, y[top:bottom, left:right])
    as_many_blas_threads_as(before)


@kernel
def backward(d_y, x, weight, d_x, d_weight, d_bias, keep_x, keep_weight, keep_bias, parts):
    """Each thread computes its blocks of d_x and d_weight, and its features of d_bias."""
    before = one_blas_thread()
    for part in prange(parts):
        # y = x @ weight.T + bias
        top, bottom, left, right = block_of(d_x.shape, part, parts)
        multiply(1.0, d_y[top:bottom], weight[:, left:right], keep_x, d_x[top:bottom, left:right])
        top, bottom, left, right = block_of(d_weight.shape, part, parts)
        multiply_transposed(1.0, d_y[:, top:bottom], x[:, left:right], keep_weight, d_weight[top:bottom, left:right])
        add_up_columns(d_y, *piece(len(d_bias), part, parts), keep_bias, d_bias)
    as_many_blas_threads_as(before)


@helper
def block_of(shape, part, parts):
    """The rows and columns of one thread's block of a matrix, which is cut along its longer side."""
    if shape[0] >= shape[1]:
        top, bottom = piece(shape[0], part, parts)
        return top, bottom, 0, shape[1]
    left, right = piece(shape[1], part, parts)
    return 0, shape[0], left, right


@helper
def add_up_columns(matrix, left, right, keep, sums):
    """sums[j] = keep * sums[j] + the sum of column j, row by row."""
    for j in range(left, right):
        sums[j] = keep * sums[j] if keep else 0
    for i in range(len(matrix)):
        row = matrix[i]
        for j in range(left, right):
            sums[j] += row[j]
