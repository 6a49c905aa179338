"""The AdamW optimiser step and the gradient norm, on the flat buffers that hold all of a model's parameters."""

from typing import Any

import numpy as np

from minibert.base.arrays import Scalar
from minibert.ops.cpu.compiler import helper, kernel, piece, prange, threads
from minibert.ops.cpu.losses import sum_of_squares
from minibert.ops.optimizer import AdamWStep

# Elements per block.  An update takes two loops over each block, since the compiler does not vectorise one loop over
# all five arrays: it fails to prove that no two of them overlap.
IN_CACHE = 1 << 12
SLICE = 1 << 14  # squares per partial sum; this is fixed so that the norm does not depend on the number of threads


def adamw(
    values: np.ndarray,
    gradients: np.ndarray,
    first_moment: np.ndarray,
    second_moment: np.ndarray,
    decayed: np.ndarray,
    step: AdamWStep,
    gradient_norm: Any = None,
) -> None:
    """One step of AdamW, in place; see minibert.ops.reference.optimizer."""
    clip = 1.0 if step.max_norm is None else min(1.0, step.max_norm / max(float(gradient_norm), 1e-30))
    arrays = values, gradients, first_moment, second_moment, decayed
    update(*arrays, np.array((clip, *step[:-1]), values.dtype), threads())


@kernel
def update(values, gradients, first_moment, second_moment, decayed, numbers, parts):
    for part in prange(parts):
        first, last = piece(len(values), np.int64(part), parts)
        for start in range(first, last, IN_CACHE):
            stop = min(start + IN_CACHE, last)
            mean, square = first_moment[start:stop], second_moment[start:stop]
            update_moments(gradients[start:stop], mean, square, numbers)
            update_values(values[start:stop], mean, square, decayed[start:stop], numbers)


@helper
def update_moments(gradients, mean, square, numbers):
    """Update the running means of the gradient and of its square.

    numbers: the clipping factor, followed by the fields of AdamWStep except max_norm.
    """
    clip, one, beta1, beta2 = numbers[0], type(numbers[0])(1), numbers[2], numbers[3]
    for i in range(len(gradients)):
        gradient = gradients[i] * clip
        mean[i] += (one - beta1) * (gradient - mean[i])
        square[i] += (one - beta2) * (gradient * gradient - square[i])


@helper
def update_values(values, mean, square, decayed, numbers):
    """Update the values: a step against the mean gradient divided by its root mean square, plus weight decay.

    numbers: as in update_moments.
    """
    learning_rate, eps, weight_decay, correction1, correction2 = (
        numbers[1], numbers[4], numbers[5], numbers[6], numbers[7],
    )  # fmt: skip
    for i in range(len(values)):
        change = (mean[i] / correction1) / (np.sqrt(square[i] / correction2) + eps)
        decay = weight_decay if decayed[i] else type(eps)(0)
        values[i] -= learning_rate * (change + decay * values[i])


def global_norm(gradients: np.ndarray) -> Scalar:
    """The Euclidean norm of all gradients together: gradients [P] -> 0-d array."""
    sums = np.empty(-(-len(gradients) // SLICE))
    squares(gradients, sums)
    return np.sqrt(sums.sum()).astype(gradients.dtype)


@kernel
def squares(x, sums):
    for i in prange(len(sums)):
        sums[i] = sum_of_squares(x[i * SLICE : (i + 1) * SLICE])
