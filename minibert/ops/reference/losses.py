"""The losses: each is a sum divided by `count`, which the caller passes: the number of terms in the *global* batch.

So if a batch is split in two, or among several processes, the losses and gradients of the parts add up to those of
the whole batch.
"""

import numpy as np

from minibert.base.arrays import Cache, Scalar


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """The log of the softmax of each row, computed without overflow: logits [M, V] -> [M, V]."""
    shifted = logits - logits.max(axis=1, keepdims=True)  # [M, V]
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def cross_entropy_forward(logits: np.ndarray, labels: np.ndarray, count: int) -> tuple[Scalar, Cache]:
    """The cross-entropy loss: -log p(label), summed over the rows and divided by count.

    logits [M, V]; labels: integers [M], one for each row (no row is ignored, since the caller passes only the rows
    that have a label); count: the number of labels in the global batch.
    Returns the loss (0-d) and the cache that cross_entropy_backward takes.  Source: BERT paper, appendix A.2.
    """
    log_probabilities = log_softmax(logits)  # [M, V]
    chosen = log_probabilities[np.arange(len(labels)), labels]  # [M]
    return -chosen.sum() / count, (log_probabilities, labels, count)


def cross_entropy_backward(d_loss: Scalar, cache: Cache) -> np.ndarray:
    """The backward pass of cross_entropy_forward: d_loss (0-d) -> d_logits [M, V]."""
    log_probabilities, labels, count = cache
    # loss = -log softmax(logits)[label] / count: the gradient is the softmax, minus one at the label
    d_logits = np.exp(log_probabilities)  # [M, V]
    d_logits[np.arange(len(labels)), labels] -= 1
    d_logits *= d_loss / count
    return d_logits


def count_correct(logits: np.ndarray, labels: np.ndarray) -> int:
    """The number of rows whose highest logit is that of their label.

    logits [M, V]; labels: integers [M].  If logits tie, the first counts as the highest.  Returns an integer (0-d).
    """
    return (logits.argmax(axis=1) == labels).sum()


def mse_forward(prediction: np.ndarray, target: np.ndarray, count: int) -> tuple[Scalar, Cache]:
    """The mean squared error: the squared differences, summed and divided by count.

    prediction, target [...], of the same shape; count: the number of values in the global batch.
    Returns the loss (0-d) and the cache that mse_backward takes.
    """
    difference = prediction - target
    return (difference * difference).sum() / count, (difference, count)


def mse_backward(d_loss: Scalar, cache: Cache) -> np.ndarray:
    """The backward pass of mse_forward: d_loss (0-d) -> d_prediction [...]; the target gets no gradient."""
    difference, count = cache
    # loss = difference**2 / count
    return difference * (2 * d_loss / count)


def kl_divergence_forward(
    student_logits: np.ndarray, teacher_logits: np.ndarray, temperature: float, count: int
) -> tuple[Scalar, Cache]:
    """The distillation loss KL(teacher || student) * temperature**2, summed over the rows and divided by count.

    Both distributions are softened: they are the softmax of the logits divided by the temperature.
    student_logits, teacher_logits [M, V]; temperature > 0; count: the number of rows in the global batch.
    Returns the loss (0-d) and the cache that kl_divergence_backward takes.
    Source: Hinton et al. 2015, section 2, which also explains the factor temperature**2; DistilBERT, section 2.
    """
    log_student = log_softmax(student_logits / temperature)  # [M, V]
    log_teacher = log_softmax(teacher_logits / temperature)  # [M, V]
    teacher = np.exp(log_teacher)  # [M, V]
    loss = (teacher * (log_teacher - log_student)).sum() * (temperature**2 / count)
    return loss, (log_student, teacher, temperature, count)


def kl_divergence_backward(d_loss: Scalar, cache: Cache) -> np.ndarray:
    """The backward pass: d_loss (0-d) -> d_student_logits [M, V]; the teacher is frozen and gets no gradient."""
    log_student, teacher, temperature, count = cache
    # d KL / d log_student = -teacher; backward through the log-softmax, this becomes student - teacher; backward
    # through logits / temperature, it is divided by temperature
    return (np.exp(log_student) - teacher) * (d_loss * temperature / count)


def cosine_forward(x: np.ndarray, target: np.ndarray, count: int) -> tuple[Scalar, Cache]:
    """The cosine loss: one minus the cosine between each row of x and of the target, summed and divided by count.

    x, target [M, H], with no all-zero row; count: the number of rows in the global batch.
    Returns the loss (0-d) and the cache that cosine_backward takes.  Source: DistilBERT, section 2.
    """
    x_norm = np.sqrt((x * x).sum(axis=1, keepdims=True))  # [M, 1]
    target_norm = np.sqrt((target * target).sum(axis=1, keepdims=True))  # [M, 1]
    x_unit, target_unit = x / x_norm, target / target_norm  # [M, H]
    cosine = (x_unit * target_unit).sum(axis=1, keepdims=True)  # [M, 1]
    return (1 - cosine).sum() / count, (x_unit, target_unit, x_norm, cosine, count)


def cosine_backward(d_loss: Scalar, cache: Cache) -> np.ndarray:
    """The backward pass of cosine_forward: d_loss (0-d) -> d_x [M, H]; the target is frozen and gets no gradient."""
    x_unit, target_unit, x_norm, cosine, count = cache
    # cosine = x_unit . target_unit; its gradient is the component of target_unit orthogonal to x, divided by x_norm
    return (x_unit * cosine - target_unit) / x_norm * (d_loss / count)
