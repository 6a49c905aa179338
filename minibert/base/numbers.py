"""Numerical functions on NumPy arrays that several packages share."""

import numpy as np


def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, without overflow: [..., classes] -> probabilities of the same shape and dtype."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
