"""Losses.  Each is a sum over rows divided by `count`, a number that the caller knows: the rows of the *global* batch.

So a batch split in two, or shared by several processes, gives losses and gradients that add up to those of the whole.
"""

import numpy as np

from minibert.base.arrays import Cache, Scalar


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """logits [M, V] -> log of the softmax of each row, [M, V], without overflow."""
    shifted = logits - logits.max(axis=1, keepdims=True)  # [M, V]
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def cross_entropy_forward(logits: np.ndarray, labels: np.ndarray, count: int) -> tuple[Scalar, Cache]:
    """How surprised the model is by the right answers: -log p(label), summed and divided by count.

    logits [M, V]; labels integers [M], one for each row (no row is ignored: only masked tokens get here);
    count: number of labels in the global batch.
    Returns the loss (0-d) and the cache that cross_entropy_backward takes.  Source: BERT paper, appendix A.2.
    """
    log_probabilities = log_softmax(logits)  # [M, V]
    chosen = log_probabilities[np.arange(len(labels)), labels]  # [M]
    return -chosen.sum() / count, (log_probabilities, labels, count)


def cross_entropy_backward(d_loss: Scalar, cache: Cache) -> np.ndarray:
    """d_loss (0-d) -> d_logits [M, V]."""
    log_probabilities, labels, count = cache
    # loss = -log softmax(logits)[label] / count: the gradient is the softmax, minus one at the label
    d_logits = np.exp(log_probabilities)  # [M, V]
    d_logits[np.arange(len(labels)), labels] -= 1
    d_logits *= d_loss / count
    return d_logits


def count_correct(logits: np.ndarray, labels: np.ndarray) -> int:
    """How many rows have their highest logit at their label.

    logits [M, V]; labels integers [M].  If logits tie, the first counts as the highest.  Returns an integer (0-d).
    """
    return (logits.argmax(axis=1) == labels).sum()


def mse_forward(prediction: np.ndarray, target: np.ndarray, count: int) -> tuple[Scalar, Cache]:
    """Squared error, summed and divided by count.

    prediction, target [...] of the same shape; count: number of values in the global batch.
    Returns the loss (0-d) and the cache that mse_backward takes.
    """
    difference = prediction - target
    return (difference * difference).sum() / count, (difference, count)


def mse_backward(d_loss: Scalar, cache: Cache) -> np.ndarray:
    """d_loss (0-d) -> d_prediction [...].  The target is data and gets no gradient."""
    difference, count = cache
    # loss = difference**2 / count
    return difference * (2 * d_loss / count)


def kl_divergence_forward(
    student_logits: np.ndarray, teacher_logits: np.ndarray, temperature: float, count: int
) -> tuple[Scalar, Cache]:
    """How far the student's softened distribution is from the teacher's: KL(teacher || student) * temperature**2.

    student_logits, teacher_logits [M, V]; temperature > 0; count: number of rows in the global batch.
    Returns the loss (0-d) and the cache that kl_divergence_backward takes.
    Source: Hinton et al. 2015, section 2 (and why the square); DistilBERT, section 2.
    """
    log_student = log_softmax(student_logits / temperature)  # [M, V]
    log_teacher = log_softmax(teacher_logits / temperature)  # [M, V]
    teacher = np.exp(log_teacher)  # [M, V]
    loss = (teacher * (log_teacher - log_student)).sum() * (temperature**2 / count)
    return loss, (log_student, teacher, temperature, count)


def kl_divergence_backward(d_loss: Scalar, cache: Cache) -> np.ndarray:
    """d_loss (0-d) -> d_student_logits [M, V].  The teacher is frozen and gets no gradient."""
    log_student, teacher, temperature, count = cache
    # d KL / d log_student = -teacher; through the log-softmax: student - teacher; through logits / temperature
    return (np.exp(log_student) - teacher) * (d_loss * temperature / count)


def cosine_forward(x: np.ndarray, target: np.ndarray, count: int) -> tuple[Scalar, Cache]:
    """One minus the cosine between each row of x and of the target, summed and divided by count.

    x, target [M, H], with no all-zero row; count: number of rows in the global batch.
    Returns the loss (0-d) and the cache that cosine_backward takes.  Source: DistilBERT, section 2.
    """
    x_norm = np.sqrt((x * x).sum(axis=1, keepdims=True))  # [M, 1]
    target_norm = np.sqrt((target * target).sum(axis=1, keepdims=True))  # [M, 1]
    x_unit, target_unit = x / x_norm, target / target_norm  # [M, H]
    cosine = (x_unit * target_unit).sum(axis=1, keepdims=True)  # [M, 1]
    return (1 - cosine).sum() / count, (x_unit, target_unit, x_norm, cosine, count)


def cosine_backward(d_loss: Scalar, cache: Cache) -> np.ndarray:
    """d_loss (0-d) -> d_x [M, H].  The target is frozen and gets no gradient."""
    x_unit, target_unit, x_norm, cosine, count = cache
    # cosine = x_unit . target_unit; only the component of target_unit orthogonal to x matters
    return (x_unit * cosine - target_unit) / x_norm * (d_loss / count)
