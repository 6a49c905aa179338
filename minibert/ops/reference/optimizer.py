"""The AdamW optimiser step and the gradient norm, on the flat buffers that hold all of a model's parameters."""

from typing import Any

import numpy as np

from minibert.base.arrays import Scalar
from minibert.ops.optimizer import AdamWStep


def adamw(
    values: np.ndarray,
    gradients: np.ndarray,
    first_moment: np.ndarray,
    second_moment: np.ndarray,
    decayed: np.ndarray,
    step: AdamWStep,
    gradient_norm: Any = None,
) -> None:
    """One step of AdamW (Adam with decoupled weight decay), which updates values and both moments in place.

    values, gradients, first_moment, second_moment [P]; decayed: bool [P], True where weight decay applies;
    step: a minibert.ops.AdamWStep; gradient_norm: the gradients' Euclidean norm, needed only if step.max_norm is set.
    Sources: Kingma and Ba 2015, algorithm 1; Loshchilov and Hutter 2019, algorithm 2 (Google's BERT code omits the
    bias correction).
    """
    scale = 1.0 if step.max_norm is None else min(1.0, step.max_norm / max(float(gradient_norm), 1e-30))
    gradients = gradients * scale  # [P]
    first_moment += (1 - step.beta1) * (gradients - first_moment)
    second_moment += (1 - step.beta2) * (gradients * gradients - second_moment)
    update = (first_moment / step.correction1) / (np.sqrt(second_moment / step.correction2) + step.eps)  # [P]
    values -= step.learning_rate * (update + step.weight_decay * decayed * values)


def global_norm(gradients: np.ndarray) -> Scalar:
    """The Euclidean norm of all gradients together: gradients [P] -> 0-d array."""
    return np.sqrt(np.dot(gradients, gradients))
