"""Layer normalisation, alone and after a residual connection: one pass over memory each way."""

import numpy as np

from minibert.ops.cpu.compiler import ROWS, chunks_of, kernel, prange, rows_of, summing
from minibert.ops.cpu.dropout import NOTHING, as_drops, drop_row, words_for
from minibert.ops.cpu.memory import empty


def layernorm_forward(x, weight, bias, eps):
    """y = (x - mean) * rstd * weight + bias: see minibert.ops.reference.layernorm."""
    return normalised(x, x[:0], weight, bias, eps, NOTHING)


def layernorm_backward(d_y, cache):
    """d_y [N, H] -> d_x [N, H], d_weight [H], d_bias [H]."""
    d_x, _, d_weight, d_bias = add_layernorm_backward(d_y, cache)
    return d_x, d_weight, d_bias


def add_layernorm_forward(x, residual, weight, bias, eps, dropout=None):
    """y = layernorm(residual + dropout(x)): see minibert.ops.reference.layernorm."""
    return normalised(x, residual, weight, bias, eps, as_drops(dropout))


def add_layernorm_backward(d_y, cache):
    """d_y [N, H] -> d_x [N, H], d_residual [N, H] (the same array where nothing is dropped), d_weight [H], d_bias [H]."""
    x_hat, rstd, weight, drops = cache
    d_residual = empty(x_hat.shape, x_hat.dtype)
    d_x = empty(x_hat.shape, x_hat.dtype) if drops.threshold else d_residual
    d_weights, d_biases = np.empty((2, -(-len(d_y) // ROWS), len(weight)), x_hat.dtype)  # a row for each chunk
    backward(d_y, x_hat, rstd, weight, drops, d_x, d_residual, d_weights, d_biases)
    return d_x, d_residual, d_weights.sum(axis=0), d_biases.sum(axis=0)


def normalised(x, residual, weight, bias, eps, drops):
    """y and the cache; residual [N, H], or [0, H] for none."""
    y, x_hat = empty(x.shape, x.dtype), empty(x.shape, x.dtype)
    rstd = np.empty(len(x), x.dtype)
    forward(x, residual, weight, bias, eps, drops, y, x_hat, rstd)
    return y, (x_hat, rstd, weight, drops)


@kernel
def forward(x, residual, weight, bias, eps, drops, y, x_hat, rstd):
    for chunk in prange(chunks_of(x)):
        words = words_for(x)
        for i in rows_of(chunk, x):
            row, y_row = x_hat[i], y[i]
            if drops.threshold > 0:
                drop_row(x[i], drops, i, words, row)
            else:
                row[:] = x[i]
            if len(residual) > 0:
                row += residual[i]
            mean, rstd[i] = mean_and_rstd(row, eps)
            for j in range(len(row)):
                row[j] = (row[j] - mean) * rstd[i]
                y_row[j] = row[j] * weight[j] + bias[j]


@kernel
def backward(d_y, x_hat, rstd, weight, drops, d_x, d_residual, d_weights, d_biases):
    for chunk in prange(chunks_of(d_y)):
        words = words_for(d_y)
        d_weight, d_bias = d_weights[chunk], d_biases[chunk]
        d_weight[:] = 0
        d_bias[:] = 0
        for i in rows_of(chunk, d_y):
            d_y_row, x_hat_row, d_row = d_y[i], x_hat[i], d_residual[i]
            # y = x_hat * weight + bias
            for j in range(len(weight)):
                d_weight[j] += d_y_row[j] * x_hat_row[j]
                d_bias[j] += d_y_row[j]
            # x_hat = (x - mean) * rstd: x reaches x_hat directly, through the mean, and through the variance
            through_mean, through_variance = two_means(d_y_row, weight, x_hat_row)
            for j in range(len(weight)):
                d_row[j] = rstd[i] * (d_y_row[j] * weight[j] - through_mean - x_hat_row[j] * through_variance)
            if drops.threshold > 0:
                drop_row(d_row, drops, i, words, d_x[i])


@summing
def mean_and_rstd(row, eps):
    """The mean of a row [H], and one over its standard deviation, eps being added to the variance."""
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
    """The means of d_x_hat and of d_x_hat * x_hat, where d_x_hat = d_y * weight; all [H]."""
    number = type(d_y[0])
    first, second = number(0), number(0)
    for j in range(len(d_y)):
        first += d_y[j] * weight[j]
        second += d_y[j] * weight[j] * x_hat[j]
    return first / number(len(d_y)), second / number(len(d_y))
