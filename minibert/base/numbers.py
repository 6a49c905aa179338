"""Numerical functions that several packages share."""

import math
from typing import Any

import numpy as np


def softmax(scores: Any, xp: Any = np) -> Any:
    """Softmax along the last axis, without overflow: [..., classes] -> probabilities of the same shape and dtype.

    xp: the array library of `scores`.
    """
    powers = xp.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def require_finite(values: np.ndarray, what: str) -> np.ndarray:
    """The values, unchanged.  Raises FloatingPointError if one is NaN or infinite; what: their name, in the plural."""
    if not np.isfinite(values).all():
        raise FloatingPointError(
            f"{what} are NaN or infinite: the model's weights are too large to compute with; use another model, or "
            "train it again with a lower --learning-rate"
        )
    return values


def is_number(value: Any) -> bool:
    """Whether a value from a JSON file is a number (not true or false) that a float can hold."""
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:  # an integer of more than 308 digits
        return False


def is_count(value: Any) -> bool:
    """Whether a value from a JSON file is an integer of at least 0 that 64 bits can hold."""
    return type(value) is int and 0 <= value < 1 << 63
