"""Numerical functions that several packages share."""

from typing import Any

import numpy as np


def softmax(scores: Any, xp: Any = np) -> Any:
    """Softmax along the last axis, without overflow: [..., classes] -> probabilities of the same shape and dtype.

    xp: the array library of `scores`.
    """
    powers = xp.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
