"""The optimiser: one op over the flat buffer that holds all parameters of a model."""

import numpy as np

from minibert.ops.cpu.compiler import kernel, piece, prange, threads
from minibert.ops.cpu.losses import sum_of_squares

SLICE = 1 << 14  # numbers whose squares are added up at a time, so that the sum depends on no number of threads


def adamw(
    values,
    gradients,
    first_moment,
    second_moment,
    decayed,
    *,
    learning_rate,
    beta1,
    beta2,
    eps,
    weight_decay,
    correction1=1.0,
    correction2=1.0,
    gradient_norm=None,
    max_norm=None,
):
    """One step of AdamW, in place: see minibert.ops.reference.optimizer."""
    clip = 1.0 if max_norm is None else min(1.0, max_norm / max(float(gradient_norm), 1e-30))
    arrays = values, gradients, first_moment, second_moment, decayed
    numbers = (clip, learning_rate, beta1, beta2, eps, weight_decay, correction1, correction2)
    update(*arrays, np.array(numbers, values.dtype), threads())


@kernel
def update(values, gradients, first_moment, second_moment, decayed, numbers, parts):
    clip, learning_rate, beta1, beta2, eps, weight_decay, correction1, correction2 = (
        numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], numbers[6], numbers[7],
    )  # fmt: skip
    one, zero = type(clip)(1), type(clip)(0)
    for part in prange(parts):
        first, last = piece(len(values), np.int64(part), parts)
        for i in range(first, last):
            gradient = gradients[i] * clip
            mean = first_moment[i] + (one - beta1) * (gradient - first_moment[i])
            square = second_moment[i] + (one - beta2) * (gradient * gradient - second_moment[i])
            change = (mean / correction1) / (np.sqrt(square / correction2) + eps)
            decay = weight_decay if decayed[i] else zero
            values[i] -= learning_rate * (change + decay * values[i])
            first_moment[i], second_moment[i] = mean, square


def global_norm(gradients):
    """The Euclidean norm of all gradients together.  gradients [P] -> 0-d array."""
    sums = np.empty(-(-len(gradients) // SLICE))
    squares(gradients, sums)
    return np.sqrt(sums.sum()).astype(gradients.dtype)


@kernel
def squares(x, sums):
    for i in prange(len(sums)):
        sums[i] = sum_of_squares(x[i * SLICE : (i + 1) * SLICE])
