"""The reference in 16-bit precision: the NumPy ops, with all that a GPU stores in 16 bits rounded to 16 bits.

Activations and their gradients are rounded after every op, parameters before every step.  Inside an op, and in the
gradients of parameters, numbers stay float32, as in minibert.ops.gpu.
"""

import copy
from collections.abc import Callable

import numpy as np

from minibert.base.arrays import DTypeLike
from minibert.ops import load_backend
from minibert.ops.backend import Backend
from minibert.ops.table import BY_NAME, PAIRS


def round_to(dtype: DTypeLike) -> Callable:
    """A function that rounds an array to a 16-bit dtype, and returns the result as float32."""
    return lambda array: np.asarray(array).astype(dtype).astype(np.float32)


def rounded_reference(dtype: DTypeLike) -> Backend:
    """The reference backend, with activations rounded to `dtype`."""
    honest = load_backend("reference")
    ours, rounded = copy.copy(honest), round_to(dtype)
    for op in PAIRS:
        if not BY_NAME[op].loss:
            setattr(ours, f"{op}_forward", forward(getattr(honest, f"{op}_forward"), rounded))
        setattr(ours, f"{op}_backward", backward(getattr(honest, f"{op}_backward"), rounded, BY_NAME[op].activations))
    return ours


def forward(function: Callable, rounded: Callable) -> Callable:
    def call(*arguments, **named):
        y, cache = function(*arguments, **named)
        return rounded(y), cache

    return call


def backward(function: Callable, rounded: Callable, activations: int | None) -> Callable:
    """Round the gradients that a backward function returns; activations: how many of them to round, None for all."""

    def call(*arguments, **named):
        gradients = function(*arguments, **named)
        several = gradients if isinstance(gradients, tuple) else (gradients,)
        count = len(several) if activations is None else activations
        several = tuple(rounded(g) if i < count else g for i, g in enumerate(several))
        return several if isinstance(gradients, tuple) else several[0]

    return call
