"""Layer normalisation, on its own and combined with dropout and a residual connection, processed row by row.

The forward and the backward pass each traverse the matrices in memory only once.
"""

import numpy as np

from minibert.base.arrays import Cache
from minibert.ops.cpu.compiler import ROWS, chunks_of, helper, kernel, prange, rows_of, summing
from minibert.ops.cpu.dropout import NOTHING, Drops, as_drops, drop_row, words_for
from minibert.ops.cpu.memory import empty
from minibert.ops.dropout import Dropout


def layernorm_forward(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float) -> tuple[np.ndarray, Cache]:
    """Layer normalisation, y = (x - mean) * rstd * weight + bias; see minibert.ops.reference.layernorm."""
    return normalised(x, x[:0], weight, bias, eps, NOTHING)


def layernorm_backward(d_y: np.ndarray, cache: Cache) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The backward pass of layernorm_forward: d_y [N, H] -> d_x [N, H], d_weight [H], d_bias [H]."""
    d_x, _, d_weight, d_bias = add_layernorm_backward(d_y, cache)
    return d_x, d_weight, d_bias


def add_layernorm_forward(
    x: np.ndarray,
    residual: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    eps: float,
    dropout: Dropout | None = None,
) -> tuple[np.ndarray, Cache]:
    """Residual layer normalisation, y = layernorm(residual + dropout(x)); see minibert.ops.reference.layernorm."""
    return normalised(x, residual, weight, bias, eps, as_drops(dropout))


def add_layernorm_backward(d_y: np.ndarray, cache: Cache) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The backward pass: d_y [N, H] -> d_x [N, H], d_residual [N, H], d_weight [H], d_bias [H].

    Without dropout, d_x and d_residual are the same array.
    """
    x_hat, rstd, weight, drops = cache
    d_residual = empty(x_hat.shape, x_hat.dtype)
    d_x = empty(x_hat.shape, x_hat.dtype) if drops.threshold else d_residual
    d_weights, d_biases = np.empty((2, -(-len(d_y) // ROWS), len(weight)), x_hat.dtype)  # a row for each chunk
    backward(d_y, x_hat, rstd, weight, drops, d_x, d_residual, d_weights, d_biases)
    return d_x, d_residual, d_weights.sum(axis=0), d_biases.sum(axis=0)


def normalised(
    x: np.ndarray, residual: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float, drops: Drops
) -> tuple[np.ndarray, Cache]:
    """The forward pass of both ops: returns y and the cache; residual [N, H], or [0, H] for no residual."""
    y, x_hat = empty(x.shape, x.dtype), empty(x.shape, x.dtype)
    rstd = np.empty(len(x), x.dtype)
    forward(x, residual, weight, bias, eps, drops, y, x_hat, rstd)
    return y, (x_hat, rstd, weight, drops)


@kernel
def forward(x, residual, weight, bias, eps, drops, y, x_hat, rstd):
    for chunk in prange(chunks_of(x)):
        words = words_for(x)
        for i in rows_of(np.int64(chunk), x):
            rstd[i] = normalise(x, residual, weight, bias, eps, drops, y[i], x_hat[i], i, words)


@helper
def normalise(x, residual, weight, bias, eps, drops, y, x_hat, i, words):
    """Apply dropout, add the residual and normalise row i of x [N, H]; write y and x_hat [H], and return rstd.

    Dropout is skipped if its threshold is 0, and the residual is skipped if it has no rows.
    """
    if drops.threshold > 0:
        drop_row(x[i], drops, i, words, x_hat)
    else:
        for j in range(len(y)):
            x_hat[j] = x[i, j]
    if len(residual) > 0:
        for j in range(len(y)):
            x_hat[j] += residual[i, j]
    mean, rstd = mean_and_rstd(x_hat, eps)
    for j in range(len(y)):
        x_hat[j] = (x_hat[j] - mean) * rstd
        y[j] = x_hat[j] * weight[j] + bias[j]
    return rstd


@kernel
def backward(d_y, x_hat, rstd, weight, drops, d_x, d_residual, d_weights, d_biases):
    for chunk in prange(chunks_of(d_y)):
        words = words_for(d_y)
        add_up_parameters(d_y, x_hat, np.int64(chunk), d_weights[chunk], d_biases[chunk])
        for i in rows_of(np.int64(chunk), d_y):
            normalise_backward(d_y[i], x_hat[i], rstd[i], weight, d_residual[i])
            if drops.threshold > 0:
                drop_row(d_residual[i], drops, i, words, d_x[i])


@helper
def add_up_parameters(d_y, x_hat, chunk, d_weight, d_bias):
    """Write the contribution of one chunk's rows to d_weight and d_bias [H]."""
    for j in range(len(d_bias)):
        d_weight[j], d_bias[j] = 0, 0
    for i in rows_of(chunk, d_y):
        # y = x_hat * weight + bias
        for j in range(len(d_bias)):
            d_weight[j] += d_y[i, j] * x_hat[i, j]
            d_bias[j] += d_y[i, j]


@helper
def normalise_backward(d_y, x_hat, rstd, weight, d_x):
    """Compute one row d_x [H] of the input's gradient."""
    # x_hat = (x - mean) * rstd: x affects x_hat directly, through the mean, and through the variance
    through_mean, through_variance = two_means(d_y, weight, x_hat)
    for j in range(len(d_y)):
        d_x[j] = rstd * (d_y[j] * weight[j] - through_mean - x_hat[j] * through_variance)


@summing
def mean_and_rstd(row, eps):
    """The mean of a row [H], and the reciprocal of its standard deviation after eps is added to the variance."""
    number = type(row[0])
    total, squares = number(0), number(0)
    for j in range(len(row)):
        total += row[j]
    mean = total / number(len(row))
    for j in range(len(row)):
        squares += (row[j] - mean) * (row[j] - mean)
    return mean, number(1) / np.sqrt(squares / number(len(row)) + number(eps))


@summing
def two_means(d_y, weight, x_hat):
    """The means of d_x_hat and of d_x_hat * x_hat over one row, where d_x_hat = d_y * weight; all arrays are [H]."""
    number = type(d_y[0])
    first, second = number(0), number(0)
    for j in range(len(d_y)):
        first += d_y[j] * weight[j]
        second += d_y[j] * weight[j] * x_hat[j]
    return first / number(len(d_y)), second / number(len(d_y))
