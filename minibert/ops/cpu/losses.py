"""The losses, computed row by row; see minibert.ops.reference.losses for the formulas and the meaning of `count`."""

import numpy as np

from minibert.base.arrays import Cache, Scalar
from minibert.ops.cpu.compiler import helper, kernel, prange, summing
from minibert.ops.cpu.elementary import exponential
from minibert.ops.cpu.memory import empty

LANES = 16  # number of separate maxima in `maximum`, so that its loop vectorises


def cross_entropy_forward(logits: np.ndarray, labels: np.ndarray, count: int) -> tuple[Scalar, Cache]:
    """The cross-entropy loss, sum(log_sum - logits[label]) / count; logits [M, V], labels int32 [M]."""
    losses, log_sums = np.empty(len(logits), logits.dtype), np.empty(len(logits), logits.dtype)
    surprise(logits, labels, losses, log_sums)
    return losses.sum() / logits.dtype.type(count), (logits, labels, log_sums, count)


def cross_entropy_backward(d_loss: Scalar, cache: Cache) -> np.ndarray:
    """The backward pass of cross_entropy_forward: d_loss (0-d) -> d_logits [M, V]."""
    logits, labels, log_sums, count = cache
    d_logits = empty(logits.shape, logits.dtype)
    surprise_slope(float(d_loss) / count, logits, labels, log_sums, d_logits)
    return d_logits


@kernel
def surprise(logits, labels, losses, log_sums):
    for i in prange(len(logits)):
        log_sums[i] = log_sum_of_exponentials(logits[i])
        losses[i] = log_sums[i] - logits[i, labels[i]]


@kernel
def surprise_slope(factor, logits, labels, log_sums, d_logits):
    for i in prange(len(logits)):
        surprise_slope_of_row(factor, logits[i], labels[i], log_sums[i], d_logits[i])


@helper
def surprise_slope_of_row(factor, row, label, log_sum, d_row):
    # loss = -log softmax(logits)[label]: the gradient is the softmax, minus one at the label
    scale = type(row[0])(factor)
    for j in range(len(row)):
        d_row[j] = scale * exponential(row[j] - log_sum)
    d_row[label] -= scale


@helper
def log_sum_of_exponentials(row):
    """log(sum(exp(row))), computed without overflow; row [V]."""
    largest = maximum(row)
    return largest + np.log(sum_of_exponentials(row, largest))


@helper
def maximum(row):
    """The largest number in a row [V].

    Keeps one maximum per lane so that the loop vectorises: since a row may contain NaN, the compiler must not reorder
    the comparisons itself.
    """
    lanes = np.full(LANES, row[0])
    whole = len(row) // LANES * LANES
    for start in range(0, whole, LANES):
        for lane in range(LANES):
            x = row[start + lane]
            lanes[lane] = x if x > lanes[lane] else lanes[lane]
    largest = lanes[0]
    for x in lanes:
        largest = x if x > largest else largest
    for j in range(whole, len(row)):
        largest = row[j] if row[j] > largest else largest
    return largest


@summing
def sum_of_exponentials(row, largest):
    total = type(row[0])(0)
    for j in range(len(row)):
        total += exponential(row[j] - largest)
    return total


def count_correct(logits: np.ndarray, labels: np.ndarray) -> int:
    """The number of rows of logits [M, V] whose highest logit is that of their label, a 0-d integer.

    If logits tie, the first counts as the highest, as in `argmax`.
    """
    correct = np.empty(len(logits), np.int64)
    is_maximum(logits, labels, correct)
    return correct.sum()


@kernel
def is_maximum(logits, labels, correct):
    for i in prange(len(logits)):
        row, label = logits[i], labels[i]
        higher = 0
        for j in range(label):
            higher += row[j] >= row[label]
        for j in range(label + 1, len(row)):
            higher += row[j] > row[label]
        correct[i] = higher == 0


def mse_forward(prediction: np.ndarray, target: np.ndarray, count: int) -> tuple[Scalar, Cache]:
    """The mean squared error, sum((prediction - target)**2) / count."""
    difference = empty(prediction.shape, prediction.dtype)
    total = squared_difference(prediction.reshape(-1), target.reshape(-1), difference.reshape(-1))
    return prediction.dtype.type(total / count), (difference, count)


def mse_backward(d_loss: Scalar, cache: Cache) -> np.ndarray:
    """The backward pass of mse_forward: d_loss (0-d) -> d_prediction [...]."""
    difference, count = cache
    d_prediction = empty(difference.shape, difference.dtype)
    multiple(2 * float(d_loss) / count, difference.reshape(-1), d_prediction.reshape(-1))
    return d_prediction


@kernel
def squared_difference(prediction, target, difference):
    for i in prange(len(difference)):
        difference[i] = prediction[i] - target[i]
    return sum_of_squares(difference)


@kernel
def multiple(factor, x, y):
    for i in prange(len(x)):
        y[i] = factor * x[i]


@summing
def sum_of_squares(x):
    """The sum of the squares of x, computed in float64 whatever the dtype of x."""
    total = 0.0
    for i in range(len(x)):
        total += np.float64(x[i]) * np.float64(x[i])
    return total


def kl_divergence_forward(
    student_logits: np.ndarray, teacher_logits: np.ndarray, temperature: float, count: int
) -> tuple[Scalar, Cache]:
    """The distillation loss, KL(teacher || student) * temperature**2 / count, with both distributions softened.

    student_logits, teacher_logits [M, V].
    """
    dtype = student_logits.dtype
    losses, log_sums = np.empty(len(student_logits), dtype), np.empty((2, len(student_logits)), dtype)
    divergence(student_logits, teacher_logits, temperature, losses, log_sums)
    cache = student_logits, teacher_logits, log_sums, temperature, count
    return dtype.type(losses.sum() * temperature**2 / count), cache


def kl_divergence_backward(d_loss: Scalar, cache: Cache) -> np.ndarray:
    """The backward pass of kl_divergence_forward: d_loss (0-d) -> d_student_logits [M, V]."""
    student_logits, teacher_logits, log_sums, temperature, count = cache
    d_student_logits = empty(student_logits.shape, student_logits.dtype)
    factor = float(d_loss) * temperature / count
    divergence_slope(factor, student_logits, teacher_logits, temperature, log_sums, d_student_logits)
    return d_student_logits


@kernel
def divergence(student_logits, teacher_logits, temperature, losses, log_sums):
    for i in prange(len(losses)):
        number = type(losses[0])
        student, teacher, cooling = student_logits[i], teacher_logits[i], number(1 / temperature)
        log_sums[0, i] = log_sum_of_exponentials(multiplied(student, cooling))
        log_sums[1, i] = log_sum_of_exponentials(multiplied(teacher, cooling))
        losses[i] = divergence_of_row(student, teacher, cooling, log_sums[0, i], log_sums[1, i])


@helper
def multiplied(row, factor):
    """row * factor, outside the prange loop: within one, Numba compiles array expressions in some processes only."""
    return row * factor


@summing
def divergence_of_row(student, teacher, cooling, student_log_sum, teacher_log_sum):
    total = type(student[0])(0)
    for j in range(len(student)):
        log_teacher = teacher[j] * cooling - teacher_log_sum
        total += exponential(log_teacher) * (log_teacher - (student[j] * cooling - student_log_sum))
    return total


@kernel
def divergence_slope(factor, student_logits, teacher_logits, temperature, log_sums, d_student_logits):
    for i in prange(len(student_logits)):
        # d KL / d log_student = -teacher; backward through the log-softmax, this becomes student - teacher; backward
        # through logits / temperature, it is divided by temperature
        number = type(student_logits[0, 0])
        cooling, scale = number(1 / temperature), number(factor)
        student, teacher, d_row = student_logits[i], teacher_logits[i], d_student_logits[i]
        student_log_sum, teacher_log_sum = log_sums[0, i], log_sums[1, i]
        for j in range(len(student)):
            likely = exponential(student[j] * cooling - student_log_sum)
            d_row[j] = scale * (likely - exponential(teacher[j] * cooling - teacher_log_sum))


def cosine_forward(x: np.ndarray, target: np.ndarray, count: int) -> tuple[Scalar, Cache]:
    """The cosine loss: one minus the cosine of each pair of rows, summed and divided by count; x, target [M, H]."""
    norms, cosines = np.empty((2, len(x)), x.dtype), np.empty(len(x), x.dtype)
    angles(x, target, norms, cosines)
    return x.dtype.type((1 - cosines).sum() / count), (x, target, norms, cosines, count)


def cosine_backward(d_loss: Scalar, cache: Cache) -> np.ndarray:
    """The backward pass of cosine_forward: d_loss (0-d) -> d_x [M, H]."""
    x, target, norms, cosines, count = cache
    d_x = empty(x.shape, x.dtype)
    turn(float(d_loss) / count, x, target, norms, cosines, d_x)
    return d_x


@kernel
def angles(x, target, norms, cosines):
    for i in prange(len(x)):
        number = type(cosines[0])
        norms[0, i], norms[1, i] = number(np.sqrt(sum_of_squares(x[i]))), number(np.sqrt(sum_of_squares(target[i])))
        cosines[i] = cosine_of_rows(x[i], target[i], norms[0, i], norms[1, i])


@summing
def cosine_of_rows(x, target, x_norm, target_norm):
    total = type(x[0])(0)
    for j in range(len(x)):
        total += (x[j] / x_norm) * (target[j] / target_norm)
    return total


@kernel
def turn(factor, x, target, norms, cosines, d_x):
    for i in prange(len(x)):
        # cosine = x_unit . target_unit; its gradient is the component of target_unit orthogonal to x, over x's norm
        scale = type(cosines[0])(factor) / norms[0, i]
        for j in range(x.shape[1]):
            d_x[i, j] = scale * (x[i, j] / norms[0, i] * cosines[i] - target[i, j] / norms[1, i])
