"""Arithmetic on the host that several packages need."""

import numpy as np


def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, without overflow: [..., classes] -> probabilities, of the same dtype."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
